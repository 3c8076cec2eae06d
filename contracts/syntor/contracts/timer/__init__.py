"""Timers that fired, delivered by the server's schedules."""
