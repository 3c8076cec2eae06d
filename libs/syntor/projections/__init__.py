"""Read models: rows folded from the log, with the position they stand at, in one transaction."""
