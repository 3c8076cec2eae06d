"""Hosting: takes tasks from a queue, runs the agent's function for each, and serves the agent as a process."""
