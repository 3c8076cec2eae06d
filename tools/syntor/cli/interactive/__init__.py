"""The interactive session: what `syntor` alone opens."""
