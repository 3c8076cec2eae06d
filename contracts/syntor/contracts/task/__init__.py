"""Events of a task, written by the agent service that holds it."""
