"""`python -m syntor.agents.git`: serves the git agent until stopped."""

from __future__ import annotations

from pathlib import Path

from syntor.agentkit.worker.entrypoint import serve_agent

if __name__ == "__main__":
    serve_agent(Path(__file__).with_name("manifest.yaml"), built_in=True)
