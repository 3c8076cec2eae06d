"""The local stack: nats-server and every service as supervised processes of one home folder."""
