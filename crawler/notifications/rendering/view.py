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
from crawler.domain.text import plain
from crawler.notifications.grouping import TOPICS
from crawler.notifications.i18n import WORDS
from crawler.notifications.i18n.phrases import Span, flat, spans
from crawler.notifications.models import Digest, Introduction, Line, Topic
from crawler.notifications.rendering.lines import LineLimits, LineRow, Writer, writer

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


# --- the subject -----------------------------------------------------------------------------------------------------


#: Longer subjects are cut.
LIMIT = 150
#: How many kinds of news are counted.
_COUNTED = 3


def subject(digest: Digest, writer: Writer) -> str:
    """Return the subject of *digest*: the news that needs a sentence; then what is counted; then the accounts."""
    words = writer.words
    is_single = len(digest.lines) == 1 and not digest.pins
    sentence = _single(digest.lines[0], writer) if is_single else _pins(digest, writer)
    counts = [] if is_single else _counts(digest, writer)
    unseen = sum(len(gap.zones) for gap in digest.gaps)
    back = sum(len(gap.zones) for gap in digest.recovered)
    counts += [words.unseen.of(unseen)] * bool(unseen) + [words.seen_again.of(back)] * bool(back)
    counted = words.subject_comma.join(counts)
    also = f"{words.also} " if words.also and counted[:1].isdigit() else words.also
    line = f"{sentence}{words.semicolon}{also}{counted}" if sentence and counted else sentence or counted
    if digest.introduction is not None and not digest.pins:
        line = words.first + words.colon + (line or words.zones.of(digest.coverage.total))
    line = line or words.no_news.format(n=digest.coverage.observed, total=digest.coverage.total)
    return f"{plain(line, LIMIT)} [{_accounts(digest, writer)}]"


def _pins(digest: Digest, writer: Writer) -> str:
    """Return the worst condition in full, and how many more there are."""
    if not digest.pins:
        return ""
    words, worst = writer.words, digest.pins[0]
    said = spans(
        words.pin_subject[worst.state],
        zone=writer.zone(worst.account, worst.pin.zone),
        successor=plain(worst.successor or " / ".join(worst.candidates)),
    )
    others = len(digest.pins) - 1
    return words.subject_comma.join([flat(said), *([words.more_pins.of(others)] if others else [])])


def _counts(digest: Digest, writer: Writer) -> list[str]:
    """Return how many images or zones each of the worst kinds of news is about."""
    counts: dict[Topic, int] = {}
    for line in digest.lines:
        counts[line.topic] = counts.get(line.topic, 0) + _size(line)
    return [writer.words.counted[topic].of(counts[topic]) for topic in TOPICS if topic in counts][:_COUNTED]


def _single(line: Line, writer: Writer) -> str:
    name = writer.line_name(line)
    where = writer.where(line)
    if not line.image_set:
        where = flat(writer.line(line).what) if line.project or line.variant else where
        if line.topic == "flapped":
            return writer.words.single["flapped"].format(name=where, where=where)
    return writer.words.single[line.topic].format(name=name, where=where)


def _size(line: Line) -> int:
    """Return how much a line counts: its images, or its zones where it is about zones."""
    if line.image_set:
        return line.image_count
    return len({(place.account, place.zone) for place in line.places})


def _accounts(digest: Digest, writer: Writer) -> str:
    if len(digest.accounts) > 2:
        return writer.words.accounts.of(len(digest.accounts))
    return "+".join(plain(name, 40) for name in digest.accounts) or plain(digest.subscription.name, 40)
