"""`--session` continues a session that exists, or makes the one it is told to make."""

from __future__ import annotations

import pytest

from syntor.cli.api import Api
from syntor.contracts.errors import InvalidInputError


class _Known(Api):
    """An API that knows two sessions."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")

    def session_ids(self) -> list[str]:
        return ["lamp-design", "lamp-paint"]


def test_an_unknown_session_is_refused_with_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _Known().chosen_session("lamp-desing")
    assert ended.value.code == 2
    assert "session 'lamp-desing' is unknown; did you mean lamp-design" in capsys.readouterr().err


def test_a_session_is_named_whole_in_part_or_as_a_new_one() -> None:
    assert _Known().chosen_session("lamp-paint") == "lamp-paint"
    assert _Known().chosen_session("lamp-d") == "lamp-design"
    assert _Known().chosen_session("new:door") == "door"
    with pytest.raises(InvalidInputError):
        _Known().chosen_session("new:lamp-paint")
