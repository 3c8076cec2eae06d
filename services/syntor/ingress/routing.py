"""Finds the handler of a method and path. Paths are literal segments and `{name}` for one segment of any text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from syntor.contracts.errors import NotFoundError
from syntor.ingress.errors import MethodNotAllowedError
from syntor.ingress.exchange import Exchange

Handler = Callable[[Exchange], Awaitable[None]]
Route = tuple[str, str, Handler]
"""Method, path template, handler."""


class _Node:
    __slots__ = ("any", "any_name", "literal", "methods", "template")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.any_name = ""
        self.methods: dict[str, Handler] = {}
        self.template = ""


_NOWHERE = _Node()


class Router:
    """A tree of path segments."""

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self._root = _Node()
        for method, template, handler in routes:
            node = self._root
            for segment in template.split("/")[1:]:
                node = _child(node, segment)
            node.methods[method] = handler
            node.template = template

    def find(self, method: str, path: str, parameters: dict[str, str]) -> tuple[Handler, str]:
        """Return handler and path template, and fill in the parts of the path that stand for ids.

        Raises:
            NotFoundError: no such path.
            MethodNotAllowedError: the path has other methods.
        """
        node = self._root
        for segment in path.split("/")[1:]:
            following = node.literal.get(segment)
            if following is None and node.any is not None and segment:
                parameters[node.any_name] = segment
                following = node.any
            node = following or _NOWHERE
        if not node.methods:
            raise NotFoundError(f"no path {path}; /docs lists them")
        handler = node.methods.get(method)
        if handler is None:
            raise MethodNotAllowedError(method, path, sorted(node.methods))
        return handler, node.template


def _child(node: _Node, segment: str) -> _Node:
    if not segment.startswith("{"):
        return node.literal.setdefault(segment, _Node())
    node.any_name = segment[1:-1]
    if node.any is None:
        node.any = _Node()
    return node.any
