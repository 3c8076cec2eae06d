"""The test kit: real servers in folders of their own, an in-memory event store, scenarios."""
