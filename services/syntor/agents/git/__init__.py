"""The git agent."""
