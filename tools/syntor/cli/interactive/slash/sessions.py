"""Slash commands about sessions as a whole: choose one, what it cost, and write it to a file."""

from __future__ import annotations

from pathlib import Path

from syntor.cli.interactive.session import Session, SlashCommand
from syntor.cli.interactive.slash.views import syntor
from syntor.cli.interactive.transcript import transcript
from syntor.cli.output import short_time, table
from syntor.contracts.errors import InvalidInputError
from syntor.contracts.rpc.v1 import SessionView
from syntor.contracts.visible_text import visible, visible_line

_LISTED = 200
_SHOWN = 15
_TITLE = 40  # characters; the table fits on 80 columns with a whole id


def sessions(session: Session, rest: str) -> None:
    """Choose another session, by a part of its title or id, or from a list."""
    known = session.api.sessions(limit=_LISTED).sessions
    found = matching(known, rest)
    if not found:
        raise InvalidInputError(f"/sessions {rest}: no session has that in its title or id")
    if rest and len(found) == 1:
        _open(session, found[0].session_id)
        return
    print(
        table(
            ("", "SESSION", "UPDATED", "TITLE"), [_row(number, each) for number, each in enumerate(found[:_SHOWN], 1)]
        )
    )
    if len(found) > _SHOWN:
        print(f"({len(found) - _SHOWN} more: /sessions TEXT searches)")
    if chosen := _prompt(known, found[:_SHOWN]):
        _open(session, chosen)


def matching(known: list[SessionView], text: str) -> list[SessionView]:
    """Return the sessions that have all words of a text in title, agent or id, in their order."""
    words = text.lower().split()
    return [
        each for each in known if all(word in f"{each.title} {each.agent} {each.session_id}".lower() for word in words)
    ]


def _row(number: int, each: SessionView) -> tuple[str, str, str, str]:
    return (str(number), each.session_id, short_time(each.updated_at)[5:16], visible_line(each.title, _TITLE))


def _prompt(known: list[SessionView], shown: list[SessionView]) -> str:
    """Return the session that the user chooses; empty: none."""
    from prompt_toolkit import prompt
    from prompt_toolkit.completion import FuzzyWordCompleter

    titles = {each.session_id: visible_line(each.title, _TITLE) for each in known}
    completer = FuzzyWordCompleter([*titles], meta_dict=dict(titles))
    try:
        text = prompt("open (number, id, part of the title; Enter: none)> ", completer=completer).strip()
    except (EOFError, KeyboardInterrupt):
        return ""
    if not text:
        return ""
    if text.isdecimal() and 1 <= int(text) <= len(shown):
        return shown[int(text) - 1].session_id
    found = matching(known, text)
    if len(found) != 1:
        raise InvalidInputError(f"{len(found)} sessions have {text!r} in title or id")
    return found[0].session_id


def _open(session: Session, session_id: str) -> None:
    session.state.forget_session()
    session.state.session_id = session_id
    print(f"(session {session_id})")
    session.show_history()
    session.follow_newest()


def cost(session: Session, rest: str) -> None:
    """Show tokens and cost of the session by model."""
    syntor(session, "usage", "--session", _id(session))


def export(session: Session, rest: str) -> None:
    """Write the session to a file: Markdown, or JSON for a name that ends in .json."""
    session_id = _id(session)
    path = Path(rest or f"{session_id}.md").expanduser()
    text = transcript(session_id, session.api.messages(session_id), as_json=path.suffix == ".json")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InvalidInputError(f"/export: {path} exists; name another file") from None
    print(visible(f"wrote {path.absolute()}"))


def _id(session: Session) -> str:
    if not session.state.session_id:
        raise InvalidInputError("there is no conversation yet")
    return session.state.session_id


COMMANDS = (
    SlashCommand("sessions", "choose another session, by a part of its title or from a list", sessions, ("resume",)),
    SlashCommand("cost", "show tokens and cost of this session by model", cost),
    SlashCommand("export", "write this session to a file: Markdown, or JSON for NAME.json", export),
)
