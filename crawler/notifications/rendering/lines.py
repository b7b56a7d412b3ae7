"""
The rows of a mail: each line of a digest in words, with nothing in it but harmless text. Pure.

A row is where, which image, what, and a tail that says when; below it stand the details. Text and HTML are two layouts
of the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crawler.domain.forms import EXTRA, SET
from crawler.domain.text import MESSAGE_LIMIT, plain
from crawler.notifications.i18n.phrases import Dates, Span, Spans, Words, flat, joined, spans
from crawler.notifications.models import (
    Digest,
    Ending,
    FieldChange,
    Held,
    Line,
    LinePlace,
    PinLine,
    SchemaLine,
    UnseenZone,
)

ARROW = " → "
#: Kinds whose sets say something to people.
IMAGE_KINDS = ("uk8s-image", "uhost-image", "phost-image")
_REFUSAL = re.compile(r"(?P<text>.*) \(RetCode (?P<code>\d+)(?:: (?P<meaning>.*))?\)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLimits:
    """How much is shown before "and N more"."""

    rows: int = 200
    #: Zones with details of their own, in one line.
    details: int = 14
    #: Zones, names and projects in one list.
    items: int = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRow:
    """One line of a section."""

    where: str
    name: str = ""
    what: Spans = ()
    tail: str = ""
    more: tuple[Spans, ...] = ()


@dataclass(slots=True)
class Writer:
    """Writes rows in one language; remembers whether anything had to be left out."""

    words: Words
    dates: Dates
    limits: LineLimits
    #: Whether zones need their account to be distinguished.
    with_account: bool = False
    is_cut: bool = field(default=False)

    # --- small parts ---------------------------------------------------------------------------------------------

    def zone(self, account: str, zone: str) -> str:
        """Return a zone as it is called."""
        return f"{plain(account)}/{plain(zone)}" if self.with_account and account else plain(zone)

    def listed(self, items: Sequence[Spans], limit: int | None = None) -> Spans:
        """Return *items* in one line, as many as the limits allow."""
        limit = self.limits.items if limit is None else limit
        if len(items) <= limit:
            return joined(self.words.comma, items)
        self.is_cut = True
        rest = self.words.more.format(n=len(items) - limit)
        return (*joined(self.words.comma, items[:limit]), Span(f" {rest}"))

    def names(self, names: Iterable[str], limit: int | None = None) -> str:
        """Return names in one line."""
        return flat(self.listed([(Span(self.name(name)),) for name in names], limit))

    def name(self, name: str) -> str:
        """Return the name of an image, or a word for its lack."""
        return plain(name) or self.words.no_name

    def ids(self, place: LinePlace) -> Spans:
        """Return the ids of a place: a chain with arrows, others as a list; behind them what is there instead."""
        shown = [(_id(image_id),) for image_id in place.image_ids]
        own = joined(ARROW, shown) if place.is_chain else self.listed(shown, self.limits.details)
        if not place.successors:
            return own
        there = joined(self.words.comma, [(_id(image_id),) for image_id in place.successors])
        return (*own, *spans(self.words.in_its_place, ids=there))

    def tail(self, *parts: str) -> str:
        """Return what stands at the end of a row."""
        return self.words.semicolon.join(part for part in parts if part)

    # --- pins ----------------------------------------------------------------------------------------------------

    def pin(self, line: PinLine) -> LineRow:
        """Return the row of a pinned image."""
        words, dates = self.words, self.dates
        since = line.last_seen_at or line.since
        successor = Span(plain(line.successor or " / ".join(line.candidates), MESSAGE_LIMIT), "strong")
        what = spans(
            words.pin[line.state],
            id=_id(line.pin.image_id),
            successor=successor,
            advice=spans(words.pin_use, successor=successor) if successor.text else words.pin_no_successor,
            said=plain(line.message),
            since=words.since.format(since=dates.at(since)) if since else "",
            seen=dates.at(line.last_seen_at) if line.last_seen_at else "",
        )
        more = []
        if len(line.chain) > 1 and line.state in ("reissued", "withdrawn"):
            steps = [
                (_id(step),) if gone is None else spans(words.gone_by, id=_id(step), by=dates.at(gone))
                for step, gone in line.chain
            ]
            more.append(joined(ARROW, steps))
        if line.message and "{said}" not in words.pin[line.state]:
            more.append((Span(self.message(line.message, None)),))
        return LineRow(
            where=self.zone(line.account, line.pin.zone),
            name=plain(line.name),
            what=what,
            tail=self.tail(
                dates.between(line.between) if line.between else "", self._projects(line.projects, line.project_count)
            ),
            more=tuple(more),
        )

    def _projects(self, names: Sequence[str], count: int) -> str:
        if not names:
            return ""
        shown = self.names(names, 3)
        return self.words.some_projects.format(names=shown, n=len(names), total=count)

    # --- changes -------------------------------------------------------------------------------------------------

    def where(self, line: Line) -> str:
        """Return where something happened: the zone, or how many of how many."""
        zones = {(place.region, place.zone) for place in line.places}
        if len(zones) == 1:
            accounts = {place.account for place in line.places}
            return self.zone(line.places[0].account if len(accounts) == 1 else "", line.places[0].zone)
        total = max(line.zone_count, len(zones))
        if not line.names or len(zones) == total:
            return self.words.zones.of(len(zones))
        return self.words.some_zones.format(n=len(zones), total=total)

    def line_name(self, line: Line) -> str:
        """Return whom it happened to: an image's name, or how many images."""
        if not line.names:
            return self.words.no_name if line.image_set else ""
        words = self.words
        if len(line.names) == 1:
            name = words.thing.get(line.kind, "{name}").format(name=self.name(line.names[0]))
        else:
            name = words.things.get(line.kind, words.images).of(line.image_count)
        if line.image_set in ("", "ImageSet") or line.kind not in IMAGE_KINDS:
            return name
        return self.words.other_set.format(name=name, set=plain(line.image_set))

    def line(self, line: Line) -> LineRow:
        """Return the row of what happened to images, zones or projects."""
        what, more = self._targets(line) if not line.image_set else self._images(line)
        return LineRow(
            where=self.where(line),
            name=self.line_name(line),
            what=what,
            tail=self.tail(self.dates.between(line.between), *self._notes(line)),
            more=more,
        )

    def _images(self, line: Line) -> tuple[Spans, tuple[Spans, ...]]:
        """Return what happened to images: ids where there is one place, the places below where there are several."""
        only = line.places[0] if len(line.places) == 1 else None
        changed = [(Span(self.field(change)),) for change in line.fields]
        if line.fields and line.image_count > 1:
            more: list[Spans] = [(Span(self.names(line.names)),)] if len(line.names) > 1 else []
            more += [] if only else [self._zones(line)]
            return joined(self.words.semicolon, changed), tuple(more)
        if only:
            # what is called by its id has said it already
            return () if only.image_ids == line.names else self.ids(only), tuple(changed)
        places = [(Span(f"{self._place(place)} "), *self.ids(place)) for place in line.places]
        is_detailed = len(places) <= 3 or line.places[0].is_chain
        if not is_detailed:
            return (), (self._zones(line), *changed)
        shown = places[: self.limits.details]
        if len(shown) < len(places):
            self.is_cut = True
            shown.append((Span(self.words.more.format(n=len(places) - len(shown))),))
        return (), (*shown, *changed)

    def _zones(self, line: Line) -> Spans:
        return self.listed([(Span(label),) for label in dict.fromkeys(map(self._place, line.places))])

    def _place(self, place: LinePlace) -> str:
        """Return a zone with the part of it that is concerned, short."""
        parts = [
            *map(plain, place.projects[:2]),
            *(["…"] if len(place.projects) > 2 else []),
            *map(plain, place.variants),
        ]
        left, right = self.words.brackets
        return self.zone(place.account, place.zone) + (f"{left}{self.words.comma.join(parts)}{right}" if parts else "")

    def _targets(self, line: Line) -> tuple[Spans, tuple[Spans, ...]]:
        """Return what happened to zones, or to a whole project."""
        words = self.words
        parts = []
        if line.project is not None:
            parts.append(words.whole_project.format(name=self.name(line.project)))
        if line.variant is not None:
            parts.append(words.whole_variant.format(name=plain(line.variant)))
        offered = dict(line.offered)
        if "gpu_type" in offered:
            offered.pop("machine_type", None)  # there is but one with GPUs
        parts += [words.offered[name].format(name=plain(value)) for name, value in offered.items()]
        if line.topic == "closed" and line.image_count:
            parts.append(words.images_unknown.of(line.image_count))
        is_one = len({(place.account, place.zone) for place in line.places}) == 1
        return (Span(words.semicolon.join(parts)),), () if is_one else (self._zones(line),)

    def _notes(self, line: Line) -> list[str]:
        words, notes = self.words, []
        if line.topic == "flapped":
            gone = words.flapped_present if line.is_present else words.flapped_gone
            notes.append(words.flapped_field if line.fields else gone)
        if line.supersedes and len(line.places) == 1:
            notes.append(words.supersedes.format(id=plain(line.supersedes[0])))
        if line.topic == "withdrawn" and all(place.is_empty for place in line.places):
            notes.append(words.is_empty)
        if line.confirmed_by != 1:
            notes.append(words.confirmed.of(line.confirmed_by) if line.confirmed_by else words.confirmed_later)
        if len(line.places) == 1:
            place = line.places[0]
            notes.append(self._projects(place.projects, place.project_count))
            if place.variants:
                notes.append(words.only_variants.format(names=self.names(place.variants, 3)))
        return notes

    def field(self, change: FieldChange) -> str:
        """Return a changed field with its values, when all images share them."""
        name = self.words.fields.get(change.field, plain(change.field))
        if change.values is None:
            return self.words.field_differs.format(field=name)
        before, after = self._changed(*change.values)
        return self.words.field.format(field=name, before=before, after=after)

    def _changed(self, before: Any, after: Any) -> tuple[str, str]:
        """Return two values of a field; where they are so long that what is shown of both is the same, what differs."""
        shown = self.value(before), self.value(after)
        if shown[0] != shown[1]:
            return shown
        if isinstance(before, list) and isinstance(after, list):
            gone, come = ([one for one in own if one not in other] for own, other in ((before, after), (after, before)))
            return self.value(["…", *gone]), self.value(["…", *come])
        texts = str(before), str(after)
        differing = (at for at, (one, other) in enumerate(zip(*texts, strict=False)) if one != other)
        same = next(differing, len(min(texts, key=len)))
        return self.value(f"…{texts[0][same:]}"), self.value(f"…{texts[1][same:]}")

    def value(self, value: Any) -> str:
        """Return the value of a field."""
        if isinstance(value, bool):
            return self.words.yes if value else self.words.no
        if value is None or value in ([], {}, ""):
            return self.words.nothing
        if isinstance(value, list):
            return plain(self.words.comma.join(map(str, value)))
        return plain(str(value))

    def ending(self, ending: Ending) -> LineRow:
        """Return the row of an image whose maintenance ends."""
        words = self.words
        zones = [self.zone(ending.account, zone) for zone in ending.zones]
        what = spans(words.ending_row, id=_id(ending.image_id), day=self.dates.day(ending.ends_on))
        return LineRow(
            where=zones[0] if len(zones) == 1 else words.zones.of(len(zones)),
            name=self.name(ending.name),
            what=what,
            tail=self.tail(words.ending_notice.of(ending.notice_days), words.ending_pinned if ending.is_pinned else ""),
            more=() if len(zones) == 1 else (self.listed([(Span(zone),) for zone in zones]),),
        )

    def schema(self, line: SchemaLine) -> LineRow:
        """Return the row of names that answers state no more, again, or for the first time."""
        names = [(Span(self._schema_name(name)),) for name in line.names]
        where = self.words.colon.join(filter(None, [plain(line.account) if self.with_account else "", line.kind]))
        return LineRow(
            where=where,
            what=spans(self.words.schema_said[line.state].pick(len(names)), names=self.listed(names)),
            tail=self.dates.between(line.between),
        )

    def _schema_name(self, name: str) -> str:
        """Return a name of a `schema` change as people call it."""
        if name.startswith(SET):
            return self.words.schema_set.format(name=plain(name.removeprefix(SET)))
        return self.words.fields.get(name) or plain(name.removeprefix(EXTRA))

    # --- how well it is known ------------------------------------------------------------------------------------

    def gap(self, gap: UnseenZone) -> LineRow:
        """Return the row of zones that are not observed."""
        since = gap.last_seen_at or gap.since
        where, more = self._gap_zones(gap)
        return LineRow(
            where=where,
            name=self.words.since.format(since=self.dates.at(since)) if since else "",
            what=(Span(self.reason(gap)),),
            tail=self.tail(
                self.words.gap_images.of(gap.images) if gap.images else "",
                self._projects(gap.projects, gap.project_count),
            ),
            more=more,
        )

    def recovered(self, gap: UnseenZone) -> LineRow:
        """Return the row of zones that are observed again."""
        where, more = self._gap_zones(gap)
        since = self.words.since.format(since=self.dates.at(gap.since)) if gap.since else ""
        what = self.words.recovered_row.format(since=since, images=self.words.images.of(gap.images))
        return LineRow(where=where, what=(Span(what),), tail=self._projects(gap.projects, gap.project_count), more=more)

    def still(self, gaps: Iterable[UnseenZone]) -> str:
        """Return the zones of *gaps* in one line, each group with its beginning."""
        left, right = self.words.brackets
        parts = []
        for gap in gaps:
            zones = flat(self.listed([(Span(self.zone(gap.account, zone)),) for zone in gap.zones], 6))
            since = gap.last_seen_at or gap.since
            start = self.words.since.format(since=self.dates.at(since)) if since else ""
            parts.append(f"{zones}{left}{start}{right}" if start else zones)
        return self.words.semicolon.join(parts)

    def _gap_zones(self, gap: UnseenZone) -> tuple[str, tuple[Spans, ...]]:
        zones = [self.zone(gap.account, zone) for zone in gap.zones]
        if len(zones) == 1:
            return zones[0], ()
        return self.words.zones.of(len(zones)), (self.listed([(Span(zone),) for zone in zones]),)

    def reason(self, gap: UnseenZone) -> str:
        """Return why zones are not observed, with the provider's own words."""
        if gap.failure_class in ("deadline", "circuit", "account_stopped", "interrupted"):
            return self.words.classes.get(gap.failure_class, "") or plain(gap.message, MESSAGE_LIMIT)
        return self.message(gap.message, gap.failure_class)

    def message(self, message: str, failure_class: str | None) -> str:
        """Return a failure's message: the RetCode, the provider's words, and what they mean where that is not plain."""
        words = self.words
        match = _REFUSAL.fullmatch(message)
        if match is None:
            shown = plain(message, MESSAGE_LIMIT)
            known = words.classes.get(failure_class or "", "")
            return words.colon.join(part for part in (known, shown) if part)
        code = int(match["code"])
        meaning = words.explain.get(code, "") or ("" if failure_class == "transient" else match["meaning"] or "")
        left, right = words.brackets
        said = plain(match["text"], MESSAGE_LIMIT)
        refusal = words.refusal.format(code=code, said=said) if said else words.refusal_bare.format(code=code)
        return refusal + (f"{left}{plain(meaning, MESSAGE_LIMIT)}{right}" if meaning else "")

    def held(self, held: Held) -> LineRow:
        """Return the row of a hold."""
        since = self.words.since.format(since=self.dates.at(held.since))
        what = self.words.held_row
        phrase = what.pick(held.image_count)
        return LineRow(
            where=self.zone(held.account, held.zone),
            what=(Span(phrase.format(n=held.image_count, since=since, names=self.names(held.names, 6))),),
            tail=self.words.held_unread_note if held.is_unread else self.words.held_note,
        )


def writer_for(digest: Digest, words: Words, limits: LineLimits) -> Writer:
    """Return the writer for *digest*."""
    dates = Dates(words=words, zone=digest.subscription.timezone, now=digest.until)
    return Writer(words=words, dates=dates, limits=limits, with_account=len(digest.accounts) > 1)


def _id(image_id: str) -> Span:
    return Span(plain(image_id), "id")
