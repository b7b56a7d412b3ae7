"""
A digest in words, section by section: what both parts of a mail lay out. Pure.

News first, then what nobody saw, then who is told what; the same order and the same texts in every layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from crawler.domain.subscriptions import Language, Watch
from crawler.notifications.i18n import WORDS
from crawler.notifications.i18n.phrases import Span, spans
from crawler.notifications.models import Digest, Introduction, Topic
from crawler.notifications.rendering.lines import LineLimits, LineRow, Writer, writer
from crawler.notifications.rendering.subject import subject

Tone = Literal["alarm", "bad", "warn", "good", "plain"]

_TONES: dict[Topic, Tone] = {
    "withdrawn": "bad", "reissued": "warn", "gpu_lost": "bad", "closed": "warn", "appeared": "good",
    "returned": "good", "modified": "plain", "opened": "good", "flapped": "plain",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows under one title."""

    title: str
    tone: Tone
    rows: tuple[LineRow, ...]
    #: Stands beside the title.
    note: str = ""
    #: What is not shown.
    rest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything a mail says, in order."""

    language: Language
    subject: str
    sections: tuple[Section, ...]
    footer: tuple[str, ...]
    is_cut: bool
    title_marks: tuple[str, str]
    brackets: tuple[str, str]


def view(digest: Digest, limits: LineLimits) -> View:
    """Return *digest* in the words of its subscription's language."""
    pen = writer(digest, WORDS[digest.subscription.language], limits)
    sections = tuple(_sections(digest, pen))
    footer = tuple(_footer(digest, pen))
    return View(
        language=digest.subscription.language,
        subject=subject(digest, pen),
        sections=sections,
        footer=footer,
        is_cut=pen.is_cut,
        title_marks=pen.words.title_marks,
        brackets=pen.words.brackets,
    )


def _sections(digest: Digest, pen: Writer) -> Iterable[Section]:
    words = pen.words
    clear = tuple(line for line in digest.pins if line.state == "clear")
    trouble = tuple(line for line in digest.pins if line.state != "clear")
    yield from _section(pen, words.pins, "alarm", _with_same(pen, [pen.pin(line) for line in trouble]))
    yield from _section(pen, words.pins_clear, "good", [pen.pin(line) for line in clear])
    for topic, lines in groupby(digest.lines, key=lambda line: line.topic):
        yield from _section(
            pen, words.topics[topic], _TONES[topic], _with_same(pen, [pen.line(line) for line in lines])
        )
    yield from _section(pen, words.held, "warn", [pen.held(held) for held in digest.held])
    yield from _section(pen, words.gaps, "warn", [pen.gap(gap) for gap in digest.gaps], words.gaps_note)
    yield from _section(pen, words.recovered, "good", [pen.recovered(gap) for gap in digest.recovered])
    if digest.introduction is not None:
        rows = list(_introduction(digest.introduction, pen))
        yield from _section(pen, words.introduction, "plain", rows)


def _section(pen: Writer, title: str, tone: Tone, rows: Sequence[LineRow], note: str = "") -> Iterable[Section]:
    """Return one section, or none without rows; what goes beyond the limit is counted."""
    if not rows:
        return
    shown = tuple(rows[: pen.limits.rows])
    rest = ""
    if len(shown) < len(rows):
        pen.is_cut = True
        rest = pen.words.more.format(n=len(rows) - len(shown))
    yield Section(title=title, tone=tone, rows=shown, note=note, rest=rest)


def _with_same(pen: Writer, rows: Sequence[LineRow]) -> list[LineRow]:
    """Say once what happened at the same time in rows that follow one another."""
    tails = ["", *(row.tail for row in rows)]
    return [
        replace(row, tail=pen.words.same) if row.tail and row.tail == before else row
        for before, row in zip(tails, rows, strict=False)
    ]


# --- what is watched -------------------------------------------------------------------------------------------------


def _introduction(told: Introduction, pen: Writer) -> Iterable[LineRow]:
    words = pen.words
    zones = words.zones.of(told.zone_count)
    if told.image_count is None:
        what = words.watching_some.format(zones=zones)
    else:
        what = words.watching.format(zones=zones, images=words.images.of(told.image_count))
    yield LineRow(
        where=pen.names(told.accounts, 6),
        what=(Span(what),),
        more=tuple((Span(line),) for line in _filters(told.watch, pen)),
    )
    if told.pins:
        pins = pen.listed([(Span(pen.zone("", pin.zone) + " "), Span(pin.image_id, "id")) for pin in told.pins], 10)
        count = len(told.pins)
        yield LineRow(where="", what=spans(words.pinned.pick(count), n=str(count), pins=pins))


def _filters(watch: Watch, pen: Writer) -> Iterable[str]:
    for key in ("account", "project", "region", "zone", "kind", "name", "event"):
        globs: tuple[str, ...] = getattr(watch, key)
        if globs:
            yield f"{pen.words.watched[key]}{pen.words.colon}{pen.names(globs, 10)}"
    if watch.gpu is not None:
        yield f"{pen.words.watched['gpu']}{pen.words.colon}{pen.value(watch.gpu)}"


# --- the end ---------------------------------------------------------------------------------------------------------


def _footer(digest: Digest, pen: Writer) -> Iterable[str]:
    words, dates, coverage = pen.words, pen.dates, digest.coverage
    if not (digest.pins or digest.lines):
        yield words.no_changes
    span = words.span.format(since=dates.full(digest.since), until=dates.full(digest.until), zone=dates.zone_name())
    observed = words.observed.format(n=coverage.observed, total=coverage.total, at=dates.at(coverage.at))
    yield f"{observed}{'' if digest.subscription.language == 'zh' else ' '}{span}"
    if coverage.still:
        yield words.still.format(zones=pen.still(coverage.still))
    if pen.is_cut:
        yield words.attached
    if digest.kind == "urgent":
        yield words.urgent_note
    yield words.sender.format(name=pen.name(digest.subscription.name))
