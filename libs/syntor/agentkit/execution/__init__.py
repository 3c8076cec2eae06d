"""What one task runs with: its part of the log, its tool calls, its budgets and what other participants sent it."""
