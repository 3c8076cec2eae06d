"""The HTTP edge: takes requests into the log, streams the log to clients, forwards queries. It has no database."""
