"""A simulated world in one thread: clock and event loop, network, and a NATS server with JetStream."""
