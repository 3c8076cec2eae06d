"""The orchestrator: owns runs and the turns of sessions. It decides what comes next, and appends it."""
