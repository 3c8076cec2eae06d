"""The documentation agent."""
