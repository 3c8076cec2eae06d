"""The simulated NATS server: routes messages between links, and to its streams.

What it does is compared with a real server by tests/integration/simulation. It has no accounts, no permissions and no
clustering; a stream may be declared replicated, which changes the order of the checks of an append.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from syntor.jetstream.client import Message
from syntor.testing.simulation.jetstream_api import JetStreamApi
from syntor.testing.simulation.loop import SimulatedProcess
from syntor.testing.simulation.matching import Matches, literal_prefix, matches_any
from syntor.testing.simulation.network import Link, Network
from syntor.testing.simulation.stream import Ack

Disturbance = Literal["none", "unavailable", "request_lost", "reply_lost"]
"""What happens to a request to JetStream: nothing, 503, no effect and no reply, or its effect without a reply."""


class Publish(NamedTuple):
    """A message of a client."""

    subject: str
    payload: bytes
    reply: str
    headers: dict[str, str] | None


class Subscribe(NamedTuple):
    """A subscription of a client."""

    sid: int
    subject: str
    queue: str


class Unsubscribe(NamedTuple):
    """The end of a subscription."""

    sid: int


class Ping(NamedTuple):
    """A PING; the number comes back with the PONG."""

    number: int


class Delivered(NamedTuple):
    """A message for a subscription."""

    sid: int
    message: Message


class Pong(NamedTuple):
    """Confirms everything sent before a PING."""

    number: int


class Lost(NamedTuple):
    """The server closed the connection."""


class _Subscription(NamedTuple):
    link: Link
    sid: int
    subject: str
    queue: str


class SimulatedServer:
    """A NATS server with JetStream, in this process."""

    def __init__(self, network: Network, rng: random.Random | None = None) -> None:
        self.network = network
        self.up = True
        """False: between a stop and a start."""
        self.disturb: Callable[[], Disturbance] = lambda: "none"
        """Decides what happens to each request to JetStream."""
        self.api = JetStreamApi(network, _wall_ns, self.send)
        self._observed = False
        """Whether a client listens to what others send to JetStream."""
        self._random = rng or random.Random(0)
        self._links: dict[Link, dict[int, _Subscription]] = {}
        self._exact: dict[str, list[_Subscription]] = {}
        self._parents: dict[str, list[_Subscription]] = {}
        self._patterns: dict[str, tuple[Matches, list[_Subscription]]] = {}

    # links

    def accept(self, process: SimulatedProcess | None, to_client: Callable[[Link, Any], None]) -> Link:
        """Return a new link of a client."""
        link = Link(self.network, process, self._receive, to_client)
        self._links[link] = {}
        return link

    def drop(self, link: Link) -> None:
        """Notice that a client is gone: its subscriptions end."""
        for subscription in self._links.pop(link, {}).values():
            self._remove(subscription)
        for consumer in list(self.api.consumers.values()):
            consumer.forget(lambda inbox: not self._find(inbox))

    def stop(self) -> None:
        """Stop: all links are cut; streams in memory, requests that wait and batches are lost."""
        self.up = False
        for link in list(self._links):
            link.down(Lost())
            self._links.pop(link)
        self._exact, self._parents, self._patterns = {}, {}, {}
        api = self.api
        for name, stream in list(api.streams.items()):
            if stream.config.get("storage") == "memory":
                for key in [key for key in api.consumers if key[0] == name]:
                    api.delete_consumer(*key)
                del api.streams[name]
        for (stream_name, name), consumer in list(api.consumers.items()):
            if not consumer.config.get("durable_name"):
                api.delete_consumer(stream_name, name)
            else:
                consumer.stop()

    def start(self) -> None:
        """Start again with what is stored."""
        self.up = True
        for consumer in list(self.api.consumers.values()):
            consumer.restart()

    # what clients send

    def _receive(self, link: Link, item: Publish | Subscribe | Unsubscribe | Ping) -> None:
        subscriptions = self._links.get(link)
        if subscriptions is None:
            return
        match item:
            case Publish():
                self._publish(item)
            case Subscribe(sid=sid, subject=subject, queue=queue):
                subscription = subscriptions[sid] = _Subscription(link, sid, subject, queue)
                self._add(subscription)
            case Unsubscribe(sid=sid):
                ended = subscriptions.pop(sid, None)
                if ended is not None:
                    self._remove(ended)
            case Ping(number=number):
                link.down(Pong(number))

    def _publish(self, item: Publish) -> None:
        subject = item.subject
        if subject.startswith("$JS."):
            if self._observed:
                self._deliver(subject, Message(subject, item.payload, item.reply, item.headers))
            self._to_jetstream(item)
            return
        delivered = self._deliver(subject, Message(subject, item.payload, item.reply, item.headers))
        stream = self.api.stream_for(subject)
        if stream is not None:
            what = self.disturb() if item.reply else "none"
            if what == "unavailable":
                self._no_responders(item.reply)
            elif what != "request_lost":
                ack = stream.publish(subject, item.payload, item.headers or {})
                if ack is not None and item.reply and what == "none":
                    self.send(item.reply, Message(item.reply, _encode_ack(stream.name, ack, item), "", None))
        elif not delivered and item.reply:
            self._no_responders(item.reply)

    def _to_jetstream(self, item: Publish) -> None:
        what = self.disturb() if item.subject.startswith("$JS.API.") else "none"
        if what == "unavailable":
            self._no_responders(item.reply)
        elif what != "request_lost":
            reply = item.reply if what == "none" else ""
            if not self.api.request(item.subject, item.payload, reply) and reply:
                self._no_responders(reply)

    def _no_responders(self, reply: str) -> None:
        self.send(reply, Message(reply, b"", "", {"Status": "503", "Description": ""}))

    # routing

    def send(self, inbox: str, message: Message) -> bool:
        """Send a message of the server; return whether a client listens."""
        found = self._find(inbox)
        for subscription in found:
            subscription.link.down(Delivered(subscription.sid, message))
        return bool(found)

    def _deliver(self, subject: str, message: Message) -> bool:
        groups: dict[tuple[str, str], list[_Subscription]] = {}
        found = self._find(subject)
        for subscription in found:
            if subscription.queue:
                groups.setdefault((subscription.subject, subscription.queue), []).append(subscription)
            else:
                subscription.link.down(Delivered(subscription.sid, message))
        for group in groups.values():
            chosen = group[self._random.randrange(len(group))]
            chosen.link.down(Delivered(chosen.sid, message))
        return bool(found)

    def _find(self, subject: str) -> list[_Subscription]:
        found = [*self._exact.get(subject, ()), *self._parents.get(subject.rpartition(".")[0], ())]
        for matches, subscriptions in self._patterns.values():
            if matches(subject):
                found += subscriptions
        return found

    def _index(self, subscription: _Subscription) -> list[_Subscription]:
        """Return the list a subscription belongs into: by its subject, by all tokens but the last, or by pattern."""
        subject = subscription.subject
        if literal_prefix(subject) == subject:
            return self._exact.setdefault(subject, [])
        if literal_prefix(subject) + "*" == subject:
            return self._parents.setdefault(subject[:-2], [])
        return self._patterns.setdefault(subject, (matches_any((subject,)), []))[1]

    def _add(self, subscription: _Subscription) -> None:
        self._observed |= subscription.subject.startswith("$JS.")
        self._index(subscription).append(subscription)

    def _remove(self, subscription: _Subscription) -> None:
        listed = self._index(subscription)
        if subscription in listed:
            listed.remove(subscription)


def _encode_ack(stream: str, ack: Ack, item: Publish) -> bytes:
    body: dict[str, Any] = {"stream": stream, "seq": ack.seq}
    if ack.fault is not None:
        body["error"] = ack.fault.body()
    if ack.duplicate:
        body["duplicate"] = True
    headers = item.headers or {}
    if ack.fault is None and headers.get("Nats-Batch-Commit") == "1":
        body |= {"batch": headers["Nats-Batch-Id"], "count": int(headers["Nats-Batch-Sequence"])}
    return msgspec.json.encode(body)


def _wall_ns() -> int:
    return time.time_ns()
