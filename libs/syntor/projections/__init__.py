"""Read models: rows folded from the log, committed together with their checkpoint."""
