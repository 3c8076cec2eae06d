"""Events of an agent's record, written by the registry."""
