"""The built-in agents: each a manifest, a prompt and a service of its own."""
