"""
A digest rendered: subject, text, HTML, and the full list as CSV. Pure, and the same every time.

Text and HTML are laid out from one view, so they say the same. The HTML carries its style in the elements, where
Outlook and Gmail look for it; what only newer programs know (dark mode, narrow screens) stays in one style element.
Nothing in it is fetched from anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, zip_longest
from typing import Literal

import css_inline
import jinja2

from crawler.domain.subscriptions import Language, Subscription, Watch
from crawler.domain.text import cell, csv_line, fold, harmless_inside, padded, plain, width
from crawler.notifications.grouping import TOPICS
from crawler.notifications.i18n import WORDS
from crawler.notifications.i18n.phrases import Span, Words, flat, spans
from crawler.notifications.models import Digest, Introduction, Line, Rendered, Topic, UnseenZone
from crawler.notifications.rendering.lines import LineLimits, LineRow, Writer, writer_for

Tone = Literal["alarm", "bad", "warn", "good", "plain"]

_TONES: dict[Topic, Tone] = {
    "withdrawn": "bad", "reissued": "warn", "gpu_lost": "bad", "closed": "warn", "ended": "warn",
    "appeared": "good", "returned": "good", "modified": "plain", "opened": "good", "offered": "good",
    "flapped": "plain",
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
    #: What a link to the web page is called, and where it leads; None where there is none.
    page: tuple[str, str] | None
    is_cut: bool
    title_marks: tuple[str, str]
    brackets: tuple[str, str]
    colon: str


def view(digest: Digest, limits: LineLimits) -> View:
    """Return *digest* in the words of its subscription's language."""
    writer = writer_for(digest, WORDS[digest.subscription.language], limits)
    sections = tuple(_sections(digest, writer))
    footer = tuple(_footer(digest, writer))
    return View(
        language=digest.subscription.language,
        subject=subject(digest, writer),
        sections=sections,
        footer=footer,
        page=_page(digest.subscription, writer.words),
        is_cut=writer.is_cut,
        title_marks=writer.words.title_marks,
        brackets=writer.words.brackets,
        colon=writer.words.colon,
    )


def _page(subscription: Subscription, words: Words) -> tuple[str, str] | None:
    if subscription.page_url is None:
        return None
    folder = "zh/" if subscription.language == "zh" else ""
    return words.page, f"{subscription.page_url.rstrip('/')}/{folder}changes.html"


def _sections(digest: Digest, writer: Writer) -> Iterable[Section]:
    words = writer.words
    clear = tuple(line for line in digest.pins if line.state == "clear")
    trouble = tuple(line for line in digest.pins if line.state != "clear")
    yield from _section(writer, words.pins, "alarm", _with_same(writer, [writer.pin(line) for line in trouble]))
    yield from _section(writer, words.pins_clear, "good", [writer.pin(line) for line in clear])
    for (topic, is_replaced), lines in groupby(digest.lines, key=lambda line: (line.topic, line.is_replaced)):
        title = words.title(topic, is_replaced=is_replaced)
        tone = "warn" if is_replaced else _TONES[topic]
        yield from _section(writer, title, tone, _with_same(writer, [writer.line(line) for line in lines]))
    yield from _section(writer, words.endings, "warn", [writer.ending(ending) for ending in digest.endings])
    yield from _section(writer, words.held, "warn", [writer.held(held) for held in digest.held])
    yield from _section(writer, words.gaps, "warn", [writer.gap(gap) for gap in digest.gaps], words.gaps_note)
    yield from _section(writer, words.recovered, "good", [writer.recovered(gap) for gap in digest.recovered])
    yield from _section(writer, words.schema, "plain", [writer.schema(line) for line in digest.schema])
    if digest.introduction is not None:
        rows = list(_introduction(digest.introduction, writer))
        yield from _section(writer, words.introduction, "plain", rows)


def _section(writer: Writer, title: str, tone: Tone, rows: Sequence[LineRow], note: str = "") -> Iterable[Section]:
    """Return one section, or none without rows; what goes beyond the limit is counted."""
    if not rows:
        return
    shown = tuple(rows[: writer.limits.rows])
    rest = ""
    if len(shown) < len(rows):
        writer.is_cut = True
        rest = writer.words.more.format(n=len(rows) - len(shown))
    yield Section(title=title, tone=tone, rows=shown, note=note, rest=rest)


def _with_same(writer: Writer, rows: Sequence[LineRow]) -> list[LineRow]:
    """Say once what happened at the same time in rows that follow one another."""
    tails = ["", *(row.tail for row in rows)]
    return [
        replace(row, tail=writer.words.same) if row.tail and row.tail == before else row
        for before, row in zip(tails, rows, strict=False)
    ]


# --- what is watched -------------------------------------------------------------------------------------------------


def _introduction(shown: Introduction, writer: Writer) -> Iterable[LineRow]:
    words = writer.words
    zones = words.zones.of(shown.zone_count)
    if shown.image_count is None:
        what = words.watching_some.format(zones=zones)
    else:
        what = words.watching.format(zones=zones, images=words.images.of(shown.image_count))
    yield LineRow(
        where=writer.names(shown.accounts, 6),
        what=(Span(what),),
        more=tuple((Span(line),) for line in _filters(shown.watch, writer)),
    )
    if shown.pins:
        pins = writer.listed(
            [(Span(writer.zone("", pin.zone) + " "), Span(pin.image_id, "id")) for pin in shown.pins], 10
        )
        count = len(shown.pins)
        yield LineRow(where="", what=spans(words.pinned.pick(count), n=str(count), pins=pins))


def _filters(watch: Watch, writer: Writer) -> Iterable[str]:
    for key in ("account", "project", "region", "zone", "kind", "name", "event"):
        globs: tuple[str, ...] = getattr(watch, key)
        if globs:
            yield f"{writer.words.watched[key]}{writer.words.colon}{writer.names(globs, 10)}"
    if watch.gpu is not None:
        yield f"{writer.words.watched['gpu']}{writer.words.colon}{writer.value(watch.gpu)}"


# --- the end ---------------------------------------------------------------------------------------------------------


def _footer(digest: Digest, writer: Writer) -> Iterable[str]:
    words, dates, coverage = writer.words, writer.dates, digest.coverage
    if not (digest.pins or digest.lines or digest.endings or digest.schema):
        yield words.no_changes
    span = words.span.format(since=dates.full(digest.since), until=dates.full(digest.until), zone=dates.zone_name())
    observed = words.observed.pick(coverage.total).format(
        n=coverage.observed, total=coverage.total, at=dates.at(coverage.at)
    )
    yield f"{observed}{'' if digest.subscription.language == 'zh' else ' '}{span}"
    if coverage.still:
        yield words.still.format(zones=writer.still(coverage.still))
    if writer.is_cut:
        yield words.attached
    if digest.kind == "urgent":
        yield words.urgent_note
    yield words.sender.format(name=writer.name(digest.subscription.name))


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
    unseen, back = _zones_in(digest.gaps), _zones_in(digest.recovered)
    counts += [words.ending.of(len(digest.endings))] * bool(digest.endings)
    named = sum(len(line.names) for line in digest.schema)
    counts += [words.schema_counted.of(named)] * bool(named)
    counts += [words.unseen.of(unseen)] * bool(unseen) + [words.seen_again.of(back)] * bool(back)
    counted = words.subject_comma.join(counts)
    also = f"{words.also} " if words.also and counted[:1].isdigit() else words.also
    line = f"{sentence}{words.semicolon}{also}{counted}" if sentence and counted else sentence or counted
    if digest.introduction is not None and not digest.pins:
        line = words.first + words.colon + (line or words.zones.of(digest.coverage.total))
    total = digest.coverage.total
    line = line or words.no_news.pick(total).format(n=digest.coverage.observed, total=total)
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
        where = flat(writer.line(line).what) if line.project or line.variant or line.offered else where
        if line.topic == "flapped":
            return writer.words.single["flapped"].format(name=where, where=where)
    elif len(line.places) == 1 and (variants := line.places[0].variants):
        left, right = writer.words.brackets
        where += f"{left}{writer.names(variants, 3)}{right}"  # or it would read as if it were so for everybody
    return writer.words.single[line.topic].format(name=name, where=where)


def _size(line: Line) -> int:
    """Return how much a line counts: its images, or its zones where it is about zones."""
    if line.image_set:
        return line.image_count
    if line.offered:
        return 1
    return len({(place.region, place.zone) for place in line.places})


def _zones_in(gaps: Iterable[UnseenZone]) -> int:
    """Return how many zones *gaps* are about, each once, whichever accounts see it."""
    return len({place for gap in gaps for place in zip_longest(gap.regions, gap.zones)})


def _accounts(digest: Digest, writer: Writer) -> str:
    if len(digest.accounts) > 2:
        return writer.words.accounts.of(len(digest.accounts))
    return "+".join(plain(name, 40) for name in digest.accounts) or plain(digest.subscription.name, 40)


#: Mail programs cut what is longer: Gmail does at 102 kB.
LARGEST_HTML = 90_000
#: From plenty to little; the first that fits is taken.
_LIMITS = (
    LineLimits(),
    LineLimits(rows=80),
    LineLimits(rows=40, details=8, items=20),
    LineLimits(rows=15, details=4, items=10),
    LineLimits(rows=5, details=2, items=5),
)
#: A column of the text part gives way to the next line when it gets wider than this.
_WIDEST = 34
_INDENT = "  "
#: Longer lines of the text part are broken, where they can be; in columns of a screen.
LONGEST_LINE = 118


def render(digest: Digest, *, largest: int = LARGEST_HTML) -> Rendered:
    """Return *digest* in its subscription's language, cut to what mail programs show when its HTML gets *largest*."""
    seen, html = view(digest, _LIMITS[0]), ""
    for limits in _LIMITS:
        seen = view(digest, limits)
        html = as_html(seen)
        if len(html.encode()) <= largest:
            break
    return Rendered(subject=seen.subject, text=as_text(seen), html=html, csv=as_csv(digest), is_cut=seen.is_cut)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("crawler.notifications.rendering"),
        autoescape=jinja2.select_autoescape(("html.j2",), ("txt.j2",), default=True),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


# --- HTML ------------------------------------------------------------------------------------------------------------


@cache
def _inliner() -> Callable[[str], str]:
    return css_inline.CSSInliner(load_remote_stylesheets=False).inline


def as_html(seen: View) -> str:
    """Return *seen* as a whole HTML document."""
    return _inliner()(_environment().get_template("mail.html.j2").render(view=seen))


# --- text ------------------------------------------------------------------------------------------------------------


def as_text(seen: View) -> str:
    """Return *seen* as plain text, in columns."""
    sections = [(section, _laid_out(section)) for section in seen.sections]
    return _environment().get_template("mail.txt.j2").render(view=seen, sections=sections)


def _laid_out(section: Section) -> list[str]:
    """Return the lines of a section: where, name and what in columns, then when; details below."""
    cells = [(row.where, row.name, flat(row.what)) for row in section.rows]
    widths = [min(_WIDEST, max(width(row[column]) for row in cells)) for column in range(3)]
    lines: list[str] = []
    for row, texts in zip(section.rows, cells, strict=True):
        indent = " " * widths[0] + _INDENT if widths[0] else ""
        lines += fold(_row_line(row, texts, widths), LONGEST_LINE, indent)
        lines += [line for more in row.more for line in fold(indent + flat(more), LONGEST_LINE, indent)]
    return lines


def _row_line(row: LineRow, texts: tuple[str, str, str], widths: list[int]) -> str:
    columns = [padded(text, wide) for text, wide in zip(texts, widths, strict=True) if wide]
    return _INDENT.join([*columns, row.tail]).rstrip()


# --- CSV -------------------------------------------------------------------------------------------------------------

COLUMNS = (
    "id", "run", "account", "project", "region", "zone", "kind", "variant", "event", "image_set", "image_id",
    "image_name", "counterpart", "fields", "not_before", "observed_at", "recorded_at",
)  # fmt: skip


def as_csv(digest: Digest) -> bytes:
    """Return every change of *digest* as a CSV file that spreadsheets open as it is; times are UTC."""
    lines = [csv_line(COLUMNS, "\r\n")]
    lines += [csv_line(map(_sheet_value, map(change.as_dict().get, COLUMNS)), "\r\n") for change in digest.changes]
    # The mark tells spreadsheets that it is UTF-8; what is no text at all became a replacement character already.
    return "".join(lines).encode("utf-8-sig")


def _sheet_value(value: object) -> str:
    if isinstance(value, dict):
        return plain(json.dumps(harmless_inside(value), ensure_ascii=False), None) if value else ""
    return "" if value is None else cell(str(value))
