"""Events of a run, written by the ingress (the first) and the orchestrator (all others)."""
