"""Serves user-defined agents: those described by manifests of the user's own."""
