"""Directory of registered agents, folded from the log: by id and alias, with the queue each takes its tasks from."""
