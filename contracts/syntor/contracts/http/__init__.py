"""Response bodies of the HTTP API."""
