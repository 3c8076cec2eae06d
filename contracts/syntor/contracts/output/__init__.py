"""Streamed output of a task: in the log, without a version check."""
