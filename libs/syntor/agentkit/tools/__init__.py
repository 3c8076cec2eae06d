"""Tools an agent can use. All of them only read."""
