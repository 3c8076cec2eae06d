"""Who can be asked: the agents of the log, by id and alias, with the queue each takes its tasks from."""
