"""The tables of the read model and the pure functions that change their rows, one module per table."""
