"""The HTTP edge: appends requests to the log, streams the log to clients, forwards queries. It has no database."""
