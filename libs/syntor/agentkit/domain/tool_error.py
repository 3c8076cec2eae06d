"""The error that tells a model why its tool call did not work."""

from __future__ import annotations


class ToolError(Exception):
    """A tool call could not be carried out; the text is for the model."""
