"""Slash commands of the interactive session: a module per subject, each with its rows of the table."""
