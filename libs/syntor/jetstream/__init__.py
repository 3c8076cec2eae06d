"""The JetStream layer: event store, consumers, tails, timers, requests. The only package that knows nats."""
