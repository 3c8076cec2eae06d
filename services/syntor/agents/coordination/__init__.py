"""The coordination agent."""
