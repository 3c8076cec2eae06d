"""Replays the log: rebuilds read models, compares them with the live ones, decides every recorded decision again.

Nothing here calls a model or a tool: what they answered is in the log.
"""
