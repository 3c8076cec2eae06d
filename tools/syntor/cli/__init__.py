"""The `syntor` command. Modules are loaded only by the command that needs them."""
