"""Pure rules of one task and its budget: no clock, no I/O."""
