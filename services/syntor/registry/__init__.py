"""The registry: knows which agents there are, what they can do, and whether they are there."""
