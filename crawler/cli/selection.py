"""
What a selection means against what the history knows: a word it never heard is an error, an empty answer says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from crawler.cli.context import CliContext
from crawler.cli.hints import NOTHING_YET, kind_not_asked, reasons
from crawler.cli.table import Row
from crawler.domain.filters import EVERYTHING, NOT, TARGET_PARTS, Filters, known_name, named_by, part_fits
from crawler.domain.models import ABSENT
from crawler.domain.suggest import nearest, nearest_ids
from crawler.domain.text import visible
from crawler.domain.timefmt import show_moment, tell_moment
from crawler.errors import EmptySelection, ExitCode

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from crawler.domain.models import Target
    from crawler.domain.rows import Knowledge

_WORDS = {"image_set": "image set", "name": "image name", "image_id": "image id"}
_FEW = 8


def check_selection(conn: Connection, selected: Filters, about: Filters = EVERYTHING) -> None:
    """
    Raise EmptySelection when *selected* fits no target that was ever asked; silent in an empty history.

    Globs that fit nothing on their own are told first, each with the nearest words. Of *about* the kinds count: those
    of which the question is.
    """
    from crawler.db.filters import chosen_targets

    places = check_words(conn, selected, about)
    if _may_contradict(places) and not chosen_targets(conn, Filters(**{"kind": about.kind, **places})):
        raise EmptySelection(f"No target fits {_told(places)} together; `crawler status` lists them all.")


def _may_contradict(places: Mapping[str, tuple[str, ...]]) -> bool:
    """Return whether globs that fit something each may fit nothing together: of several parts, or with one left out."""
    return len(places) > 1 or any(glob.startswith(NOT) for globs in places.values() for glob in globs)


def check_words(conn: Connection, selected: Filters, about: Filters = EVERYTHING) -> dict[str, tuple[str, ...]]:
    """Raise EmptySelection when a glob of *selected* fits nothing ever recorded; give those that select targets."""
    from crawler.db.filters import is_anything_recorded

    given = selected.given()
    if not given or not is_anything_recorded(conn):
        return {}
    sentences = [sentence for part, globs in given.items() for sentence in unheard(conn, part, globs, about)]
    if sentences:
        raise EmptySelection("\n  ".join(sentences))
    return selected.given(TARGET_PARTS)


def unheard(conn: Connection, part: str, globs: tuple[str, ...], about: Filters = EVERYTHING) -> list[str]:
    """Return a sentence, with the nearest words, for each of the *globs* that fits nothing ever recorded."""
    from crawler.db.filters import known_words

    known = known_words(conn, part, about.kind)
    return [_unheard(part, glob, known) for glob in globs if not _is_heard(part, glob, known)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptiness:
    """Why an answer is empty, and the exit code of a question about images or their changes."""

    sentence: str
    code: ExitCode = ExitCode.DONE

    def say(self, context: CliContext) -> ExitCode:
        """Say why, and return the exit code."""
        context.say(self.sentence)
        return self.code


def folded_variants(
    conn: Connection,
    selected: Filters,
    rows: Iterable[Row],
    fmt: str,
    fields: tuple[str, ...],
    *,
    at: datetime,
    by: Literal["place", "run", "everything"] = "everything",
) -> tuple[Iterable[Row], tuple[str, ...]]:
    """
    Return *rows* with one for those that say the same of several variants of a matrix, and the *fields* they have.

    Looked at together are those of one place, of one run, or all. Which variants a place has is told as of *at*.
    """
    from crawler.db.filters import has_variants

    if selected.variant or not has_variants(conn):
        return rows, fields
    from crawler.queries.variants import variants_of

    variants = variants_of(conn, selected, at)
    return variants.fold(rows, fmt, by=by), variants.names(fields)


def explain_empty(
    context: CliContext,
    conn: Connection,
    selected: Filters,
    *,
    what: str,
    about: Filters = EVERYTHING,
    at: datetime | None = None,
    with_retired: bool = True,
    of_images: bool = False,
) -> Emptiness:
    """
    Say why there are no *what* to show (as of *at*): nobody looked, nothing was there, or too little is wanted.

    In what is not known there may be images, and changes of some: where the answer is *of_images* that is said, too.
    Raises UnknownKnowledge for a moment before the kept history.
    """
    from crawler.db.beginning import require_kept
    from crawler.db.filters import first_run_at

    if at is not None:
        require_kept(conn, at)

    zone = context.history_settings().timezone
    first = first_run_at(conn)
    if first is None:
        return Emptiness(sentence=NOTHING_YET, code=ExitCode.UNKNOWN)
    if at is not None and at < first:
        return Emptiness(
            sentence=f"Nothing was recorded by {show_moment(at, zone)}: "
            f"the first run ended at {tell_moment(first, zone)}.",
            code=ExitCode.UNKNOWN,
        )
    places = selected.given(TARGET_PARTS)
    known = _known(context, conn, {"kind": about.kind, **places}, at)
    seen = [own.observed_at for own in known.values() if own.observed_at is not None]
    # of what the question is about, though nobody said so, others that were seen say nothing
    asked = _told(places or about.given(TARGET_PARTS))
    if asked and not seen:
        moment = f"was known of {asked} by {tell_moment(at, zone)}" if at else f"is known of {asked}"
        why = "nothing such was asked yet; `kinds` of the configuration say what is"
        if known:
            why = f"no good observation yet of {_unknown(known)}; `crawler status` tells why"
        return Emptiness(sentence=f"Nothing {moment}: {why}.", code=ExitCode.UNKNOWN)
    if not with_retired and all(own.reason in ABSENT for own in known.values()):
        places_told = _told(places) or "Everything"
        return Emptiness(sentence=f"{places_told} is asked no more; --retired shows what was known of it.")
    if what in ("images", "items") and places and selected.is_all_images:
        last = tell_moment(min(seen), zone)
        unknown = f"; not known: {told}" if (told := _unknown(known)) else ""
        return Emptiness(
            sentence=f"No {what} at {_told(places)}: the last good observation, at {last}, listed none{unknown}."
        )
    unknown = _unknown(_in_doubt(known)) if of_images else ""
    more = f"; not known: {unknown}" if unknown else ""
    if selected.is_all:
        return Emptiness(sentence=f"There are no {what}{more}.")
    if more:
        return Emptiness(sentence=f"No {what} fit {_told(selected.given())} where that is known{more}.")
    return Emptiness(
        sentence=f"No {what} fit {_told(selected.given())}; "
        "the history knows these words, but from other times or places."
    )


def _known(
    context: CliContext, conn: Connection, places: Mapping[str, tuple[str, ...]], at: datetime | None
) -> Mapping[Target, Knowledge]:
    """Return how well each target at *places* was known *at* a moment, or is now."""
    from crawler.db.filters import chosen_targets
    from crawler.queries.freshness import knowledge

    chosen = chosen_targets(conn, Filters(**places))
    stale_after = context.history_settings().stale_after
    return knowledge(conn, chosen, at or context.now(conn), stale_after, include_retired=True)


def _in_doubt(known: Mapping[Target, Knowledge]) -> Mapping[Target, Knowledge]:
    """Return what is *known* of targets, but for those that are asked no more and those that were never open."""
    return {
        target: own
        for target, own in known.items()
        if own.reason not in ABSENT and (own.reason != "denied" or own.observed_at is not None)
    }


def _unknown(known: Mapping[Target, Knowledge]) -> str:
    unknown: dict[str, set[str]] = {}
    for target, own in known.items():
        if own.reason:
            unknown.setdefault(own.reason, set()).add(target.place)
    return reasons(unknown)


def _told(given: Mapping[str, tuple[str, ...]]) -> str:
    return visible(" and ".join(f"--{part.replace('_', '-')} {' '.join(globs)}" for part, globs in given.items()))


def _is_heard(part: str, glob: str, known: set[str]) -> bool:
    glob = named_by(glob)
    meant = known_name(glob, known) if part == "name" else glob
    return any(part_fits(part, word, [meant]) for word in known)


def _unheard(part: str, glob: str, known: set[str]) -> str:
    word = _WORDS.get(part, part)
    near = (nearest_ids if part == "image_id" else nearest)(glob, known)
    hint = ""
    if not_asked := kind_not_asked(part, named_by(glob)):
        hint = not_asked
    elif near:
        hint = f"; the nearest: {', '.join(near)}"
    elif 0 < len(known) <= _FEW:
        hint = f"; known: {', '.join(sorted(known))}"
    elif known:
        hint = f"; `crawler {'status' if part in TARGET_PARTS else 'images'}` lists what it knows"
    return visible(f"The history knows no {word} {glob!r}{hint}.")
