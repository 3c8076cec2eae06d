"""Fault injection into a running stack, and the invariants checked afterwards."""
