"""Keeps states of workspaces in shadow git repositories, and brings them back."""
