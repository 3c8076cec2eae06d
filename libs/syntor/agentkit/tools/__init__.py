"""Tools agents can call: files, shell, git, HTTP, MCP servers, delegation."""
