"""Pure event sourcing: deciders, folding, the event store's port, upcasting."""
