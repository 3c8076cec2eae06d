"""Everything that crosses a process boundary: envelope, subjects, topology, errors and versioned events."""
