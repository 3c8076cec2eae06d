"""The permission engine: what a tool call or a shell command is, and whether it is allowed, asked about or denied."""
