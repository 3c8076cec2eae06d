"""Whose turn it is in a session, written by the orchestrator."""
