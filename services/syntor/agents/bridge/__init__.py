"""The bridge: serves the queue of external agents and calls them over HTTP."""
