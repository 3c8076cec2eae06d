"""How events become rows: pure."""
