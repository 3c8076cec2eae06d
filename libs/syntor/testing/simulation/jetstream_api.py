"""The JetStream API of the simulated server: streams, consumers, and the two ways to get stored messages."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from syntor.jetstream.client import Message
from syntor.testing.simulation.consumer import Scheduler, SimulatedConsumer
from syntor.testing.simulation.stream import Fault, SimulatedStream, Stored

_NOT_FOUND_STREAM = Fault(404, 10059, "stream not found")
_NOT_FOUND_CONSUMER = Fault(404, 10014, "consumer not found")
_NOT_FOUND_MESSAGE = Fault(404, 10037, "no message found")
_STREAM_DEFAULTS: dict[str, Any] = {
    "retention": "limits",
    "max_consumers": -1,
    "max_msgs": -1,
    "max_bytes": -1,
    "max_msg_size": -1,
    "num_replicas": 1,
    "duplicate_window": 120_000_000_000,
}
Send = Callable[[str, Message], bool]
"""Sends a message of the server to an inbox; returns whether a client listens there."""


class _RefusedError(Exception):
    """A request the API refuses."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.description)
        self.fault = fault


class JetStreamApi:
    """Streams and consumers of one server, and the requests about them."""

    def __init__(self, scheduler: Scheduler, wall_ns: Callable[[], int], send: Send) -> None:
        self.streams: dict[str, SimulatedStream] = {}
        self.consumers: dict[tuple[str, str], SimulatedConsumer] = {}
        self.on_stored: Callable[[SimulatedStream, Stored], None] = lambda stream, stored: None
        """Called for each message a stream stored."""
        self.on_consumer: Callable[[SimulatedConsumer], None] = lambda consumer: None
        """Called for each consumer that was created."""
        self.on_stream: Callable[[SimulatedStream], None] = lambda stream: None
        """Called for each stream that was created."""
        self._scheduler = scheduler
        self._wall_ns = wall_ns
        self._send = send
        self._by_stream: dict[str, list[SimulatedConsumer]] = {}

    def stream_for(self, subject: str) -> SimulatedStream | None:
        """Return the stream that stores messages of a subject."""
        return next((stream for stream in self.streams.values() if stream.captures(subject)), None)

    def request(self, subject: str, payload: bytes, reply: str) -> bool:
        """Handle a request to `$JS.`; return whether anything responds to that subject."""
        tokens = subject.split(".")
        if tokens[1] == "ACK":
            self._acknowledge(tokens, payload)
            return True
        if tokens[2:4] == ["DIRECT", "GET"]:
            stream = self.streams.get(tokens[4])
            if stream is None:
                return False
            self._direct_get(stream, msgspec.json.decode(payload, type=dict[str, Any]), reply)
            return True
        if tokens[2:5] == ["CONSUMER", "MSG", "NEXT"]:
            consumer = self.consumers.get((tokens[5], tokens[6]))
            if consumer is None:
                return False
            consumer.pull(reply, msgspec.json.decode(payload, type=dict[str, Any]) if payload else {})
            return True
        body = msgspec.json.decode(payload, type=dict[str, Any]) if payload else {}
        try:
            response = self._administer(".".join(tokens[2:4]), tokens[4:], body)
        except _RefusedError as exc:
            response = {"error": exc.fault.body()}
        self._send(reply, Message(reply, msgspec.json.encode(response), "", None))
        return True

    # administration

    def _administer(self, verb: str, names: list[str], body: dict[str, Any]) -> dict[str, Any]:
        match verb:
            case "STREAM.INFO":
                return self._stream_info(self._stream(names[0]), body)
            case "STREAM.CREATE":
                return self._create_stream(names[0], body)
            case "STREAM.UPDATE":
                stream = self._stream(names[0])
                stream.config = stream.config | body
                return self._stream_info(stream, {})
            case "STREAM.PURGE":
                stream = self._stream(names[0])
                if stream.config.get("deny_purge"):
                    raise _RefusedError(Fault(500, 10110, "stream purge not permitted"))
                return {"success": True, "purged": stream.purge(body.get("filter", ""))}
            case "STREAM.MSG":
                return self._message(names, body)
            case "CONSUMER.CREATE":
                return self._create_consumer(names, body)
            case "CONSUMER.INFO":
                return self._consumer_info(self._consumer(names[0], names[1]))
            case "CONSUMER.DELETE":
                self._consumer(names[0], names[1])
                self.delete_consumer(names[0], names[1], status="Consumer Deleted")
                return {"success": True}
            case _:
                raise _RefusedError(Fault(400, 10000, f"{verb} is not simulated"))

    def _stream(self, name: str) -> SimulatedStream:
        stream = self.streams.get(name)
        if stream is None:
            raise _RefusedError(_NOT_FOUND_STREAM)
        return stream

    def _consumer(self, stream: str, name: str) -> SimulatedConsumer:
        self._stream(stream)
        consumer = self.consumers.get((stream, name))
        if consumer is None:
            raise _RefusedError(_NOT_FOUND_CONSUMER)
        return consumer

    def _create_stream(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        existing = self.streams.get(name)
        if existing is None:
            stream = SimulatedStream(name, _STREAM_DEFAULTS | body, self._wall_ns, self._time(self._wall_ns()))
            stream.on_stored = lambda stored: self._stored(stream, stored)
            stream.on_timer = self._plan
            self.streams[name] = existing = stream
            self._by_stream.setdefault(name, [])
            self.on_stream(stream)
        elif any(existing.config.get(field) != value for field, value in body.items()):
            raise _RefusedError(Fault(400, 10058, "stream name already in use with a different configuration"))
        return self._stream_info(existing, {})

    def _stream_info(self, stream: SimulatedStream, body: dict[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {
            "messages": len(stream.messages),
            "bytes": stream.size_bytes,
            "first_seq": stream.first,
            "last_seq": stream.last,
        }
        if "subjects_filter" in body:
            state["subjects"] = stream.subjects(body["subjects_filter"])
        return {"config": stream.config, "created": stream.created, "state": state}

    def _create_consumer(self, names: list[str], body: dict[str, Any]) -> dict[str, Any]:
        stream, name, config = self._stream(names[0]), names[1], body["config"]
        known = self.consumers.get((stream.name, name))
        if known is not None:
            known.config = known.config | config
            return self._consumer_info(known)
        consumer = SimulatedConsumer(
            stream,
            name,
            {"deliver_policy": "all", "ack_policy": "explicit"} | config,
            self._scheduler,
            self._deliver,
            lambda: self.delete_consumer(stream.name, name, status="Consumer Deleted"),
            self._wall_ns,
        )
        self.consumers[stream.name, name] = consumer
        self._by_stream[stream.name].append(consumer)
        self.on_consumer(consumer)
        return self._consumer_info(consumer)

    def delete_consumer(self, stream: str, name: str, *, status: str = "") -> None:
        """Delete a consumer; requests that wait get a status, unless it is empty."""
        consumer = self.consumers.pop((stream, name), None)
        if consumer is not None:
            self._by_stream[stream].remove(consumer)
            consumer.stop(status=status)

    def _consumer_info(self, consumer: SimulatedConsumer) -> dict[str, Any]:
        return {
            "stream_name": consumer.stream.name,
            "name": consumer.name,
            "config": consumer.config,
            "num_pending": consumer.undelivered(),
            "num_ack_pending": len(consumer.pending),
            "num_redelivered": consumer.redelivered,
            "num_waiting": len(consumer.waiting),
            "ack_floor": {"stream_seq": consumer.ack_floor, "consumer_seq": 0},
            "delivered": {"stream_seq": consumer.next - 1, "consumer_seq": consumer.sequence},
        }

    def _message(self, names: list[str], body: dict[str, Any]) -> dict[str, Any]:
        stream = self._stream(names[1])
        if names[0] == "DELETE":
            if not stream.remove(int(body["seq"])):
                raise _RefusedError(_NOT_FOUND_MESSAGE)
            return {"success": True}
        found = _find(stream, body)
        if found is None:
            raise _RefusedError(_NOT_FOUND_MESSAGE)
        block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in found.headers.items()) + "\r\n"
        return {
            "message": {
                "subject": found.subject,
                "seq": found.seq,
                "time": self._time(found.timestamp_ns),
                "data": base64.b64encode(found.payload).decode(),
                "hdrs": base64.b64encode(block.encode()).decode(),
            }
        }

    # delivery

    def _acknowledge(self, tokens: list[str], payload: bytes) -> None:
        consumer = self.consumers.get((tokens[2], tokens[3]))
        if consumer is not None:
            consumer.acknowledge(int(tokens[5]), int(tokens[6]), payload)

    def _deliver(self, inbox: str, stored: Stored | None, reply: str, headers: dict[str, str]) -> bool:
        if stored is None:
            return self._send(inbox, Message(inbox, b"", reply, headers))
        return self._send(inbox, Message(stored.subject, stored.payload, reply, headers))

    def _stored(self, stream: SimulatedStream, stored: Stored) -> None:
        self.on_stored(stream, stored)
        for consumer in list(self._by_stream[stream.name]):
            consumer.deliver()

    def _plan(self, at_ns: int, callback: Callable[[], None]) -> None:
        delay_s = max(0.0, (at_ns - self._wall_ns()) / 1e9)
        self._scheduler.call_at(self._scheduler.time() + delay_s, callback)

    @staticmethod
    def _time(timestamp_ns: int) -> str:
        return datetime.fromtimestamp(timestamp_ns / 1e9, UTC).isoformat()

    # direct gets (ADR-31)

    def _direct_get(self, stream: SimulatedStream, query: dict[str, Any], reply: str) -> None:
        if "multi_last" in query:
            up_to = int(query.get("up_to_seq") or stream.last)
            found = stream.last_of_each(query["multi_last"], up_to)
            found = [stored for stored in found if stored.seq >= int(query.get("seq") or 0)]
            self._send_page(
                stream, found, int(query.get("batch") or len(found)), reply, {"Nats-UpTo-Sequence": str(up_to)}
            )
        elif "batch" in query:
            after = list(stream.after(query.get("next_by_subj", ""), int(query["seq"]) - 1))
            limit, size = int(query["batch"]), int(query.get("max_bytes") or 0)
            page = after[:limit]
            while size and len(page) > 1 and sum(len(stored.payload) for stored in page) > size:
                page.pop()
            self._send_page(stream, after, len(page), reply, {})
        else:
            one = _find(stream, query)
            if one is None:
                self._send(reply, _status(reply, "404", "Message Not Found"))
            else:
                self._send(reply, Message(reply, one.payload, "", self._stored_headers(stream, one)))

    def _send_page(
        self, stream: SimulatedStream, found: list[Stored], count: int, reply: str, end: dict[str, str]
    ) -> None:
        if not found:
            self._send(reply, _status(reply, "404", "No Results"))
            return
        count = min(count, len(found))
        for number, stored in enumerate(found[:count], 1):
            headers = self._stored_headers(stream, stored)
            headers["Nats-Num-Pending"] = str(len(found) - number)
            self._send(reply, Message(reply, stored.payload, "", headers))
        last = {"Nats-Num-Pending": str(len(found) - count), "Nats-Last-Sequence": str(found[count - 1].seq)}
        self._send(reply, _status(reply, "204", "EOB", last | end))

    def _stored_headers(self, stream: SimulatedStream, stored: Stored) -> dict[str, str]:
        return {
            **stored.headers,
            "Nats-Stream": stream.name,
            "Nats-Subject": stored.subject,
            "Nats-Sequence": str(stored.seq),
            "Nats-Time-Stamp": self._time(stored.timestamp_ns),
        }


def _status(subject: str, status: str, description: str, headers: dict[str, str] | None = None) -> Message:
    return Message(subject, b"", "", {"Status": status, "Description": description, **(headers or {})})


def _find(stream: SimulatedStream, query: dict[str, Any]) -> Stored | None:
    """Return the one message a get names."""
    if "last_by_subj" in query:
        return stream.last_of(query["last_by_subj"])
    if "next_by_subj" in query:
        return next(stream.after(query["next_by_subj"], int(query["seq"]) - 1), None)
    return stream.messages.get(int(query["seq"]))
