"""Simulation: the real services on a simulated server and clock, about a thousand seeds a minute."""
