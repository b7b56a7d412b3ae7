"""
Which phrases a mail is made of, and how they are filled in. Pure.

A phrase is a text with `{names}` in it; `Counted` has one for one and one for many. Filled in, it is a row of spans, so
that an id stays recognisable as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from string import Formatter
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from crawler.notifications.models import Between, PinState, Topic

SpanKind = Literal["text", "id", "strong"]


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    kind: SpanKind = "text"


Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """A phrase about `{n}` things."""

    one: str
    many: str

    def pick(self, n: int) -> str:
        """Return the phrase for *n* things, not filled in."""
        return self.one if n == 1 else self.many

    def of(self, n: int) -> str:
        """Return the phrase for *n* things."""
        return self.pick(n).format(n=n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Every phrase of one language."""

    #: Time of day; day and time; day, year and time.
    time: str = "%H:%M"
    day: str
    day_of_year: str
    #: Separate the items of a list, and the parts of the subject.
    comma: str
    semicolon: str
    colon: str
    #: Before what is counted after a sentence of the subject.
    also: str
    #: Between what is counted there.
    subject_comma: str
    #: Around the title of a section in the text part.
    title_marks: tuple[str, str]
    brackets: tuple[str, str]

    # when
    between: str
    by: str
    #: In place of a time and notes that are those of the row above.
    same: str
    since: str
    gone_by: str

    # sections
    pins: str
    pins_clear: str
    topics: Mapping[Topic, str]
    #: Of what was withdrawn while another of its name is there: see `title`.
    replaced: str
    endings: str
    held: str
    gaps: str
    gaps_note: str
    recovered: str
    introduction: str

    # pins
    pin: Mapping[PinState, str]
    pin_no_successor: str
    pin_use: str
    pin_subject: Mapping[PinState, str]
    more_pins: Counted

    # what happened
    single: Mapping[Topic, str]
    counted: Mapping[Topic, Counted]
    some_zones: str
    some_projects: str
    only_variants: str
    images: Counted
    #: By kind: what one of them is called, and how many there are.
    thing: Mapping[str, str]
    things: Mapping[str, Counted]
    zones: Counted
    projects: Counted
    whole_project: str
    whole_variant: str
    #: What is offered for UK8S, by the names of fields.
    offered: Mapping[str, str]
    no_name: str
    other_set: str
    supersedes: str
    in_its_place: str
    is_empty: str
    confirmed: Counted
    confirmed_later: str
    images_unknown: Counted
    flapped_present: str
    flapped_gone: str
    flapped_field: str
    field: str
    fields: Mapping[str, str]
    field_differs: str
    yes: str
    no: str
    nothing: str
    more: str
    attached: str

    # what ends
    ending_row: str
    ending_notice: Counted
    ending_pinned: str
    ending: Counted

    # what answers look like
    schema: str
    schema_said: Mapping[str, Counted]
    schema_set: str
    schema_counted: Counted

    # how well it is known
    held_row: Counted
    held_note: str
    held_unread_note: str
    gap_images: Counted
    #: A RetCode with the provider's words, and alone.
    refusal: str
    refusal_bare: str
    #: What RetCodes mean, where the message does not say it in this language.
    explain: Mapping[int, str]
    classes: Mapping[str, str]
    recovered_row: str
    unseen: Counted
    seen_again: Counted
    #: Of the zones, by how many there are in all; so is what is said where there is no news.
    observed: Counted
    still: str
    span: str
    no_news: Counted
    no_changes: str

    # who is told
    first: str
    watching: str
    watching_some: str
    watched: Mapping[str, str]
    pinned: Counted
    sender: str
    page: str
    urgent_note: str
    accounts: Counted

    def title(self, topic: Topic, *, is_replaced: bool) -> str:
        """Return the title of lines on *topic*; of what was withdrawn and *is_replaced* it says so."""
        return self.replaced if is_replaced else self.topics[topic]


def spans(template: str, /, **values: str | Span | Spans) -> Spans:
    """Fill in *template*, keeping what is an id one."""
    found: list[Span] = []
    for literal, name, _, _ in Formatter().parse(template):
        if literal:
            found.append(Span(literal))
        if name is not None:
            value = values[name]
            if isinstance(value, str):
                found.append(Span(value))
            elif isinstance(value, Span):
                found.append(value)
            else:
                found.extend(value)
    return tuple(found)


def flat(pieces: Spans) -> str:
    """Return *pieces* as bare text."""
    return "".join(piece.text for piece in pieces)


def joined(separator: str, items: Sequence[Spans]) -> Spans:
    """Return *items* with *separator* between them."""
    found: list[Span] = []
    for index, item in enumerate(items):
        found += [Span(separator)] * bool(index) + list(item)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dates:
    """Writes instants in a language and a time zone, short where the day is plain from *now*."""

    words: Words
    zone: ZoneInfo
    now: datetime

    def at(self, moment: datetime) -> str:
        """Return *moment*: the time alone on the day of the digest."""
        local = moment.astimezone(self.zone)
        return local.strftime(self.words.time) if self._is_today(local) else self.full(moment)

    def full(self, moment: datetime) -> str:
        """Return *moment* with its day, and the year where it is another."""
        local = moment.astimezone(self.zone)
        same_year = local.year == self.now.astimezone(self.zone).year
        return f"{_day(local, self.words.day if same_year else self.words.day_of_year)} {local:{self.words.time}}"

    def day(self, day: date) -> str:
        """Return a day, with the year where it is another."""
        same_year = day.year == self.now.astimezone(self.zone).year
        return _day(day, self.words.day if same_year else self.words.day_of_year)

    def between(self, span: Between) -> str:
        """Return *span*, the day once where both ends share it; with offsets where the clocks were set in between."""
        if span.after is None:
            return self.words.by.format(by=self.full(span.by))
        first, last = span.after.astimezone(self.zone), span.by.astimezone(self.zone)
        if first.utcoffset() != last.utcoffset():
            after, by = (f"{self.full(end)}{self._in_brackets(_offset(end))}" for end in (first, last))
            return self.words.between.format(after=after, by=by)
        by = last.strftime(self.words.time) if first.date() == last.date() else self.full(span.by)
        return self.words.between.format(after=self.full(span.after), by=by)

    def zone_name(self) -> str:
        """Return the zone with its offset: `Asia/Shanghai (UTC+8)`."""
        name = str(self.zone.key)
        return name if name == "UTC" else f"{name}{self._in_brackets(_offset(self.now.astimezone(self.zone)))}"

    def _in_brackets(self, text: str) -> str:
        left, right = self.words.brackets
        return f"{left}{text}{right}"

    def _is_today(self, local: datetime) -> bool:
        return local.date() == self.now.astimezone(self.zone).date()


def _offset(local: datetime) -> str:
    """Return the offset of a local time: `UTC+8`, `UTC-3:30`."""
    offset = local.strftime("%z")
    return f"UTC{offset[0]}{int(offset[1:3])}" + (f":{offset[3:5]}" if offset[3:5] != "00" else "")


def _day(local: date, template: str) -> str:
    # Month names are spelled out here: strftime would give them in the language of the machine.
    return template.format(day=local.day, month=local.month, year=local.year, name=MONTHS[local.month - 1])


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
