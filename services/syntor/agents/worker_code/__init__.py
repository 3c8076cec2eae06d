"""The code worker agent."""
