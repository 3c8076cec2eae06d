"""Faults injected into a running stack, and what must hold afterwards."""
