"""
What a selection means against what the history knows: a word it never heard is an error, an empty answer says why.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from crawler.cli.options import Selected
from crawler.errors import EmptySelection
from crawler.model import name_fits
from crawler.moments import show_moment, zone_name
from crawler.settings.suggest import nearest

if TYPE_CHECKING:
    from sqlalchemy import Connection

_WORDS = {"image_set": "image set", "name": "image name", "image_id": "image id"}
_FEW = 8


def check_selection(conn: Connection, selected: Selected) -> None:
    """Raise EmptySelection when a glob of *selected* fits nothing ever recorded; silent in an empty history."""
    from crawler.store.vocabulary import first_run_at, known_words

    given = selected.given()
    if not given or first_run_at(conn) is None:
        return
    sentences = []
    for part, globs in given.items():
        known = known_words(conn, part)
        sentences += [_unheard(part, glob, known) for glob in globs if not any(_fits(part, w, glob) for w in known)]
    if sentences:
        raise EmptySelection("\n  ".join(sentences))


def explain_empty(conn: Connection, selected: Selected, *, what: str, at: datetime | None = None, zone: tzinfo) -> str:
    """Say in one sentence why there are no *what* to show (as of *at*)."""
    from crawler.store.vocabulary import first_run_at

    first = first_run_at(conn)
    if first is None:
        return "Nothing is recorded yet: `crawler run` asks the cloud and records what it says."
    if at is not None and at < first:
        return (
            f"Nothing was recorded by {show_moment(at, zone)}: "
            f"the first run ended at {show_moment(first, zone)} ({zone_name(zone)})."
        )
    if selected.is_all:
        return f"There are no {what}."
    parts = " and ".join(f"--{part.replace('_', '-')} {' '.join(globs)}" for part, globs in selected.given().items())
    return f"No {what} fit {parts}; the history knows these words, but from other times or places."


def _fits(part: str, word: str, glob: str) -> bool:
    if part == "name":
        return name_fits(word, glob)
    return word == glob or fnmatchcase(word, glob)


def _unheard(part: str, glob: str, known: set[str]) -> str:
    word = _WORDS.get(part, part)
    near = nearest(glob, known)
    hint = ""
    if near:
        hint = f"; the nearest: {', '.join(near)}"
    elif 0 < len(known) <= _FEW:
        hint = f"; known: {', '.join(sorted(known))}"
    return f"The history knows no {word} {glob!r}{hint}."
