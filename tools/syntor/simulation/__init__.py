"""Simulation: the real services on a simulated server and clock, thousands of seeds a minute."""
