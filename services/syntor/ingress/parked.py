"""Shows and drops dead letters."""

from __future__ import annotations

import msgspec

from syntor.contracts.errors import NotFoundError
from syntor.ingress.exchange import Exchange, encode, whole_number
from syntor.ingress.gateway import Gateway
from syntor.jetstream.dead_letters import DeadLetter

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
ANY_CURSOR = 1 << 63


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters, newest first."""

    letters: list[DeadLetter]
    cursor: int | None


class DeadLetters:
    """Handlers of messages that were given up."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def listing(self, exchange: Exchange) -> None:
        """GET /v1/dead_letters."""
        values = exchange.query("limit", "cursor")
        limit = whole_number(values, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        before = whole_number(values, "cursor", 0, 0, ANY_CURSOR)
        letters, cursor = await self._gateway.dead_letters(before, limit)
        await exchange.answer(200, encode(DeadLetterPage(letters=letters, cursor=cursor)))

    async def one(self, exchange: Exchange) -> None:
        """GET /v1/dead_letters/{number}."""
        exchange.query()
        await exchange.answer(200, encode(await self._letter(exchange)))

    async def drop(self, exchange: Exchange) -> None:
        """DELETE /v1/dead_letters/{number}."""
        letter = await self._letter(exchange)
        await self._gateway.drop_dead_letter(letter.number)
        await exchange.answer(200, encode(letter))

    async def _letter(self, exchange: Exchange) -> DeadLetter:
        text = exchange.parameters["number"]
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
            raise NotFoundError(f"no dead letter {text!r}; they are numbered")
        letter = await self._gateway.dead_letter(int(text))
        if letter is None:
            raise NotFoundError(f"no dead letter {text}")
        return letter
