"""Timers that came due, delivered by the server's schedules."""
