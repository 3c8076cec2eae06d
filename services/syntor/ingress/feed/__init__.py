"""From the log to a client: one ordered consumer fanned out in memory, catch-up subscriptions, server-sent events."""
