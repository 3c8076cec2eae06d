"""The external-agent gateway: serves the queue of external agents and calls them over HTTP."""
