"""Requests and replies between services: JSON over request/reply, one struct each way."""
