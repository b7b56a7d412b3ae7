"""
The pages: from what was asked for to HTML, by the queries of the commands.

`serve` asks for one page at a time, `publish` for all of them; both get the same templates over the same view objects.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from crawler.db import changelog
from crawler.db.beginning import begins_at
from crawler.db.digest_records import project_names
from crawler.db.filters import ChosenTarget, chosen_targets, known_words
from crawler.db.last_observation import present
from crawler.domain.filters import Filters
from crawler.domain.kinds import KINDS, UK8S_IMAGE, Kind
from crawler.domain.models import DEFAULT_VARIANT, END_OF_TIME, LARGEST_ID, is_storable, normalise_name
from crawler.domain.rows import ChangeRow, Gap
from crawler.domain.subscriptions import Language
from crawler.domain.text import plain
from crawler.domain.timefmt import parse_moment
from crawler.errors import UsageError
from crawler.notifications.grouping import Successors
from crawler.queries import changes as queries_changes
from crawler.queries import check_lookup, history_lookup, holds, overview_lookup
from crawler.queries import status as queries_status
from crawler.queries.check.rules import CheckRow, PinRule
from crawler.queries.explain import explain
from crawler.queries.live_pins import KIND as LIVE_KIND
from crawler.queries.live_pins import live_pins
from crawler.queries.overview import Listed, ListedSpan, NameKey, Overview, to_use
from crawler.queries.publish import MOST_CHANGES, RegionZone
from crawler.queries.publish_lookup import FEED_SET
from crawler.queries.revoke import revoked_ids
from crawler.web import changes_page, coverage_page, evidence_page, name_page, now_page, pins_page, start_page
from crawler.web.bars import Axis
from crawler.web.links import Links, navigation
from crawler.web.rendering import Query, rendered
from crawler.web.slugs import slug
from crawler.web.wording import Wording, wording

DAYS_SHOWN: Mapping[str, int | None] = {"30": 30, "90": 90, "365": 365, "all": None}
WEEK = timedelta(days=7)
#: Readings of one state of the history that are kept for the next page, and how long they count.
KEPT_READINGS, KEPT_SECONDS = 16, 30.0
T = TypeVar("T")


class NoSuchPage(UsageError):
    """There is no such page, or it is not shown to whoever asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A page that is asked for."""

    #: ``, `now`, `names/ubuntu-20.04`, `changes/2026-11-23`, …
    page: str
    language: Language = "en"
    query: Mapping[str, str] = field(default_factory=dict)
    #: Whoever asks may see accounts, projects, custom images and evidence.
    is_private: bool = False
    may_sign_in: bool = False


@dataclass(slots=True)
class _Kept:
    run: int
    at: datetime
    found: Any


class Pages:
    """Makes the pages of one history."""

    def __init__(
        self,
        *,
        zone: ZoneInfo,
        stale_after: timedelta,
        clock: Callable[[], datetime],
        is_live: bool,
        pins: Callable[[], Sequence[PinRule]] = tuple,
    ) -> None:
        """Take the settings; a server *is_live*, and tells of which moment its pages are. *pins* finds those known."""
        self.pins = pins
        #: The changes to whose evidence files link, each with the kind that these are about.
        self.evidence: set[tuple[str, int]] = set()
        self.zone = zone
        self.stale_after = stale_after
        self.is_live = is_live
        self._clock = clock
        self._kept: OrderedDict[tuple[Any, ...], _Kept] = OrderedDict()
        self._turns: WeakValueDictionary[tuple[Any, ...], Lock] = WeakValueDictionary()  # while somebody holds it
        self._lock = Lock()

    def html(self, conn: Connection, question: PageRequest) -> str:
        """
        Return a page, read in *conn*, which is inside `read(engine)`.

        Raises NoSuchPage, and UsageError for what cannot be asked so.
        """
        return _Page(self, conn, question, present(conn, self._clock())).html()

    def kinds(self, conn: Connection) -> list[str]:
        """Return the kinds that there are pages about; that which they are about as a rule is empty, and the first."""
        return ["", *(kind.name for kind in image_kinds(known_words(conn, "kind"))[1:])]

    def parts(self, conn: Connection, kind: str, *, is_private: bool) -> list[str]:
        """Return the pages of single names and days of a *kind*, for whoever writes them all."""
        question = PageRequest(page="", query={"kind": kind}, is_private=is_private)
        return _Page(self, conn, question, present(conn, self._clock())).parts()

    def once(self, run: int, now: datetime, key: tuple[Any, ...], read: Callable[[], T]) -> T:
        """Return what *read* gives, or gave a short time before under the same *key* and *run*; others wait for it."""
        with self._lock:
            turn = self._turns.setdefault(key, Lock())
        with turn:
            kept = self._kept.get(key)
            if not (kept and kept.run == run and 0 <= (now - kept.at).total_seconds() < KEPT_SECONDS):
                kept = _Kept(run, now, read())
                with self._lock:
                    self._kept[key] = kept
                    self._kept.move_to_end(key)
                    while len(self._kept) > KEPT_READINGS:
                        self._kept.popitem(last=False)
        return cast("T", kept.found)


class _Page:
    """One page being made."""

    def __init__(self, pages: Pages, conn: Connection, question: PageRequest, now: datetime) -> None:
        self.pages = pages
        self.conn = conn
        self.question = question
        hidden = () if question.is_private else ("project",)
        self.query = {name: word for name, word in question.query.items() if name not in (*hidden, "kind")}
        self.now = now
        # files say the year always: else they would differ from one year to the next
        written = now if pages.is_live else datetime(1970, 1, 1, tzinfo=UTC)
        self.words: Wording = wording(question.language, pages.zone, written)
        self.run = overview_lookup.newest_run(conn)
        asked = self._once(("kinds",), lambda: known_words(conn, "kind"))
        self.kinds = image_kinds(asked)
        self.kind = self._wanted_kind(question.query.get("kind", ""))
        own = self.kind.name if self.kind is not self.kinds[0] else ""
        self.links = Links(here=question.page, language=question.language, is_live=pages.is_live, kind=own)
        #: The kind, where the history has others too, whose changes are to be passed over.
        self.only = self.kind.name if asked - {self.kind.name} else None
        self.image_sets = None if question.is_private else self.kind.provider_sets
        self._of_kind = Filters(kind=(self.kind.name,))

    def _wanted_kind(self, name: str) -> Kind:
        found = next((kind for kind in self.kinds if kind.name == name), None if name else self.kinds[0])
        if found is None:
            raise NoSuchPage(f"There are no images of a kind {plain(name, 40)!r} here.")
        return found

    def _command(self, words: str) -> str:
        """Return a command about this kind."""
        return f"crawler {words}" + (f" --kind {self.kind.name}" if self.kind is not UK8S_IMAGE else "")

    def html(self) -> str:
        page, _, rest = self.question.page.partition("/")
        makers: Mapping[tuple[str, bool], Callable[[str], str]] = {
            ("", False): self._start,
            ("now", False): self._now,
            ("coverage", False): self._coverage,
            ("changes", False): self._changes,
            ("changes", True): self._changes,
            ("names", True): self._name,
            ("evidence", True): self._evidence,
            ("pins", False): self._pins,
        }
        maker = makers.get((page, bool(rest)))
        if maker is None:
            raise NoSuchPage(f"There is no page {plain(self.question.page, 80)!r}.")
        return maker(rest)

    def _rendered(self, template: str, title: str, **more: Any) -> str:
        run = self.run if self.pages.is_live else None
        page = self.question.page
        context: dict[str, Any] = {
            "t": self.words, "links": self.links, "title": title, "feed": "", "command": "",
            "nav": navigation(is_private=self.question.is_private),
            "kinds": [kind.name for kind in self.kinds], "about": self.kind,
            "current": page.partition("/")[0], "query": Query(self.query), "is_private": self.question.is_private,
            "may_sign_in": self.question.may_sign_in, "zone": self._zone_name(), "tz": self.pages.zone,
            "run": run[0] if run else None, "run_at": self.words.at(run[1]) if run else "",
        }  # fmt: skip
        return rendered(template, **(context | more))

    def _zone_name(self) -> str:
        """Return the time zone of the page with its offset: as it is now, or in files as it was at the last change."""
        if self.pages.is_live:
            return self.words.dates.zone_name()
        sets = None if self.question.is_private else {name for kind in self.kinds for name in kind.provider_sets}
        last = overview_lookup.newest_change_before(self.conn, END_OF_TIME, image_sets=sets)
        return replace(self.words.dates, now=last or overview_lookup.first_good_run(self.conn) or self.now).zone_name()

    def _last_change(self, before: datetime = END_OF_TIME) -> datetime | None:
        """Return when the last change before a moment was recorded that whoever asks may see; None: there is none."""
        return overview_lookup.newest_change_before(self.conn, before, self.only, self.image_sets)

    def parts(self) -> list[str]:
        """Return the pages of every name that ever was, of the days to which pages link, and what is private."""
        slugs = {slug(name) for _, name in overview_lookup.names_known(self.conn, None, self.image_sets, self.only)}
        days = {day.day for day in self._strip(last) if day.count} if (last := self._last_change()) else set()
        days.update(one.day for one in self._latest_days())  # where little changes, they are older than the strip
        pins = ["pins"] if self.question.is_private else []
        names = [f"names/{part}" for part in sorted(slugs) if part]
        return [*names, *(f"changes/{day}" for day in sorted(days)), *pins]

    @cached_property
    def _targets(self) -> list[ChosenTarget]:
        return self._once(("targets", self._of_kind), lambda: chosen_targets(self.conn, self._of_kind))

    def _chosen(self, filters: Filters) -> list[ChosenTarget]:
        def chosen() -> list[ChosenTarget]:
            names = project_names(self.conn) if filters.project else {}
            return [
                choice
                for choice in self._targets
                if filters.wants(choice.target, names.get((choice.target.account, choice.target.project), ""))
            ]

        return self._once(("chosen", filters), chosen)

    def _gaps(self, filters: Filters, axis: Axis) -> dict[RegionZone, list[Gap]]:
        chosen, stale_after = self._chosen(filters), self.pages.stale_after
        return self._once(
            ("gaps", filters, axis),
            lambda: overview_lookup.zone_gaps(self.conn, chosen, axis.begin, axis.end, stale_after=stale_after),
        )

    # --- what is asked about -----------------------------------------------------------------------------------------

    def _moment(self) -> datetime | None:
        text = self.query.get("at", "").strip()
        if not text or not self.pages.is_live:
            return None
        moment = parse_moment(text, now=self.now, zone=self.pages.zone)
        if moment >= END_OF_TIME:
            raise UsageError(f"{plain(text)!r} is too far away to be a time")
        return moment

    def _variants(self) -> tuple[list[str], str]:
        """Return the variants there are, and the one that is asked for."""
        names = sorted(
            {choice.target.variant for choice in self._targets}, key=lambda name: (name != DEFAULT_VARIANT, name)
        )
        wanted = self.query.get("variant") or (names[0] if names else DEFAULT_VARIANT)
        return names, wanted

    def _filters(self, variant: str) -> Filters:
        def one(part: str) -> tuple[str, ...]:
            word = self.query.get(part, "")
            return (word,) if word and is_storable(word) and not set("*?[") & set(word) else ()

        project = one("project") if self.question.is_private else ()
        return replace(self._of_kind, variant=(variant,), region=one("region"), project=project)

    def _once(self, key: tuple[Any, ...], read: Callable[[], T]) -> T:
        return self.pages.once(self.run[0] if self.run else 0, self.now, key, read)

    def _known(self, filters: Filters, moment: datetime | None = None) -> overview_lookup.ZonesKnown:
        stale_after, at = self.pages.stale_after, moment or self.now
        found = lambda: overview_lookup.zones_known(self.conn, filters, at, stale_after=stale_after)  # noqa: E731
        return self._once(("zones", filters, moment), found)

    def _listing(self, filters: Filters, moment: datetime | None) -> overview_lookup.ListedNames:
        known = self._known(filters, moment)
        key = ("listing", filters, moment, self.question.is_private)
        return self._once(key, lambda: overview_lookup.listed_names(self.conn, known, self.image_sets))

    def _name_past(self, name_key: str) -> overview_lookup.NamePast:
        key = ("name", name_key, self.image_sets, self.kind.name)
        sets, kind = self.image_sets, self.kind.name
        return self._once(key, lambda: overview_lookup.name_past(self.conn, name_key, sets, kind))

    # --- overview ----------------------------------------------------------------------------------------------------

    def _start(self, _rest: str) -> str:
        _, variant = self._variants()
        zones = self._known(replace(self._of_kind, variant=(variant,))).states
        found = self._found_last()
        lines = self._folder.lines(found.rows, len(found.rows))
        seen = {"with_private": self.question.is_private, "is_live": self.pages.is_live}
        is_begun = overview_lookup.first_good_run(self.conn) is not None
        start = start_page.start(
            zones, self._held(), lines, found, self.words, elsewhere=self._elsewhere(), is_begun=is_begun, **seen
        )
        return self._rendered("start", self.words("overview"), start=start, command=self._command("status"))

    def _elsewhere(self) -> Mapping[str, int]:
        """Return how many zones are not known of each other kind."""
        unknown = {}
        for kind in self.kinds:
            if kind is not self.kind:
                states = self._known(Filters(kind=(kind.name,), variant=(DEFAULT_VARIANT,))).states
                unknown[kind.name] = sum(zone.reason is not None and zone.targets > 0 for zone in states)
        return unknown

    def _held(self) -> list[start_page.HeldIn]:
        sets = self.image_sets
        found = {
            start_page.HeldIn(row.target.zone, image.image_name, image.image_id)
            for row in holds.holds_asked_about(self.conn, self._of_kind, self.now)
            for image in row.images
            if sets is None or image.image_set in sets
        }
        return sorted(found)

    def _found_last(self) -> changes_page.FoundChanges:
        """Return the changes of seven days: the last ones, of files those that end with the last change."""
        last = self.now if self.pages.is_live else self._last_change()
        return self._found(last - WEEK, None) if last else changes_page.FoundChanges()

    # --- now ---------------------------------------------------------------------------------------------------------

    def _now(self, _rest: str) -> str:
        moment = self._moment()
        variants, variant = self._variants()
        filters = self._filters(variant)
        listing: overview_lookup.ListedNames | None = None
        notice = ""
        first, kept_from = overview_lookup.first_good_run(self.conn), begins_at(self.conn)
        if moment is not None and kept_from is not None and moment < kept_from:
            notice = self.words("pruned", at=self.words.at(kept_from))
        elif first is None or (moment is not None and moment < first):
            notice = self.words("nothing_yet" if first is None else "before_first")
        else:
            listing = self._listing(filters, moment)
        if listing is not None and not listing.names:
            notice = now_page.nothing_listed(listing.zones.states, self.words)
        matrix = self._matrix(listing, filters) if listing else None
        shown = self.words.at(moment) if moment else ""
        local = moment.astimezone(self.pages.zone).strftime("%Y-%m-%dT%H:%M") if moment else ""
        at = f" --at {moment.astimezone(self.pages.zone).isoformat(timespec='seconds')}" if moment else ""
        return self._rendered(
            "now", self.words("now"), matrix=matrix, notice=notice, at_label=shown, at_value=local,
            variants=variants, chosen_variant=variant, regions=self._regions(), projects=self._projects(),
            command=self._command(f"images{at}"),
        )  # fmt: skip

    def _matrix(self, listing: overview_lookup.ListedNames, filters: Filters) -> now_page.Matrix:
        keys = now_page.names_in(listing.names, self.query.get("q", ""))
        wanted = self.query.get("page", "1")
        number = int(wanted) if wanted.isascii() and wanted.isdecimal() and len(wanted) < 6 else 1
        shown: Sequence[NameKey] = keys
        page = pages = 1
        if self.pages.is_live:
            shown, page, pages = now_page.page_of(keys, len(listing.zones.zones), number)
        overview = overview_lookup.images_of(self.conn, listing, set(shown))
        gone = self._gone(overview, shown, filters)
        return now_page.matrix(
            overview, shown, gone, self.words, names=len(keys), page=page, pages=pages,
            with_messages=self.question.is_private,
        )  # fmt: skip

    def _gone(
        self, overview: Overview, keys: Sequence[NameKey], filters: Filters
    ) -> Mapping[tuple[RegionZone, str, str], datetime]:
        """Return when the names in *keys* were last where they are not now."""
        there = {(row.place, row.image_set, row.name_key) for row in overview.listed}
        known = [zone.place for zone in overview.zones if zone.reason is None]
        missing = {key[1] for key in keys if any((place, *key) not in there for place in known)}
        if not missing:
            return {}
        targets = {choice.target_id: choice.target for choice in self._chosen(filters)}
        return overview_lookup.last_seen(self.conn, targets, missing, overview.moment)

    def _regions(self) -> list[str]:
        return sorted({choice.target.region for choice in self._targets})

    def _projects(self) -> list[tuple[str, str]]:
        if not self.question.is_private:
            return []
        called = {project: name for (_, project), name in project_names(self.conn).items()}
        ids = sorted({choice.target.project for choice in self._targets})
        return [(project, called.get(project) or project) for project in ids]

    # --- one name ----------------------------------------------------------------------------------------------------

    def _name(self, part: str) -> str:
        key = self._name_key(part)
        variants, variant = self._variants()
        filters, spans = self._spans(variant, key)
        if not spans and not self.query.get("variant"):
            # where nobody chose, a name that `default` never listed is shown as the variant has it that has most of it
            variant = max(variants, key=lambda name: self._present(name, key), default=variant)
            filters, spans = self._spans(variant, key)
        if not spans:
            raise NoSuchPage(self.words("no_such_name"))
        overview = overview_lookup.name_overview(self._known(filters), self._name_past(key))
        keys = sorted({(span.image_set, key) for span in spans})
        gone = self._gone(overview, keys, filters)
        matrix = now_page.matrix(overview, keys, gone, self.words, names=len(keys))
        name = max(spans, key=lambda span: span.since).image_name
        window = self.query.get("days") if self.query.get("days") in DAYS_SHOWN else "90"
        axis = self._axis(DAYS_SHOWN[window or "90"], spans)
        gaps = self._gaps(filters, axis)
        ever = self._once(("held",), lambda: overview_lookup.images_ever_held(self.conn))
        chosen, past, stale_after = self._chosen(filters), self._name_past(key), self.pages.stale_after
        asked = self._known(filters).places
        held = overview_lookup.held_spans(self.conn, chosen, past, ever, asked, *axis, stale_after=stale_after)
        sets = [one for one in name_page.name_sets(matrix, spans, gaps, held, axis, self.words) if one.rows]
        revoked = self._once(("revoked",), lambda: revoked_ids(self.conn))
        present = to_use(overview, ({FEED_SET}, self.kind.provider_sets), revoked)
        return self._rendered(
            "name", plain(name), name=name, sets=sets, axis=axis, window=window, windows=self._windows(),
            variants=variants, chosen_variant=variant, lead=self._lead(matrix),
            snippets=self._snippets(name, present),
            snippet_zone=present.place.zone if present else "", command=self._command(f"where '{plain(name)}'"),
        )  # fmt: skip

    def _spans(self, variant: str, key: str) -> tuple[Filters, Sequence[ListedSpan]]:
        """Return what a variant ever listed of a name, with what chooses its targets."""
        filters = replace(self._of_kind, variant=(variant,))
        targets = {choice.target_id: choice.target for choice in self._chosen(filters)}
        past = self._name_past(key)
        asked = self._known(filters).places if any(one[0] in targets for one in past.intervals) else ()
        return filters, overview_lookup.spans_of(targets, past, asked)

    def _present(self, variant: str, key: str) -> tuple[int, int]:
        """Return in how many zones a variant lists a name now, and how often it ever did."""
        filters, spans = self._spans(variant, key)
        listed = overview_lookup.name_overview(self._known(filters), self._name_past(key)).listed if spans else ()
        return sum(row.reason is None for row in listed), len(spans)

    def _snippets(self, name: str, present: Listed | None) -> Sequence[name_page.Snippet]:
        return name_page.snippets(name, present, self.kind, self.words) if present else []

    def _name_key(self, part: str) -> str:
        """Return the normalised name whose page is called *part*."""
        guess = normalise_name(part.replace("-", " "))
        for keys in ([guess], None) if is_storable(part) else ():
            known = overview_lookup.names_known(self.conn, keys, self.image_sets, self.only)
            found = next((key for key, name in known if slug(name) == part), None)
            if found is not None:
                return found
        raise NoSuchPage(self.words("no_such_name"))

    def _windows(self) -> list[tuple[str, str]]:
        return [
            ("30", self.words("window_days", n=30)), ("90", self.words("window_days", n=90)),
            ("365", self.words("window_year")), ("all", self.words("window_all")),
        ]  # fmt: skip

    def _axis(self, days: int | None, spans: Sequence[ListedSpan]) -> Axis:
        first = min(span.since for span in spans)
        if not self.pages.is_live:
            return self._file_axis(max(span.since for span in spans))
        begin = max(first, self.now - timedelta(days=days)) if days else first
        begin = max(begin, begins_at(self.conn) or begin)  # of the time before nobody can tell any more
        return Axis(min(begin, self.now - timedelta(hours=6)), self.now)

    def _file_axis(self, newest: datetime) -> Axis:
        """Return the time up to the last change, or the *newest* stay that none tells of: it moves with these alone."""
        first = overview_lookup.first_good_run(self.conn)
        end = max(self._last_change() or first or newest, newest)
        begin = max(end - timedelta(days=coverage_page.DAYS), first or end, begins_at(self.conn) or first or end)
        return Axis(min(begin, end - timedelta(hours=6)), end)

    def _lead(self, matrix: now_page.Matrix) -> str:
        if not matrix.heads:
            return self.words("nothing_asked")
        counts: dict[str, int] = {}
        for cells in zip(*(row.cells for row in matrix.rows), strict=True):
            states = {cell.state for cell in cells}
            state = next(state for state in _LEADING if state in states)
            counts[state] = counts.get(state, 0) + 1
        total = len(matrix.heads)
        told = [
            self.words("name_lead", state=self.words(state), n=counts[state], total=total)
            for state in ("present", "unusable", "unknown", "withdrawn")
            if counts.get(state)
        ]
        return ("；" if self.question.language == "zh" else "; ").join(told)

    # --- changes -----------------------------------------------------------------------------------------------------

    def _changes(self, day: str) -> str:
        wanted = self._day(day) if day else None
        is_empty = False
        if wanted:
            days = [self._changes_of(wanted)]
            is_empty = not days[0].lines
        else:
            days = self._latest_days()
        last = self._last_change()
        strip = self._strip(last) if last else []
        first_shown = date.fromisoformat(days[-1].day) if days else None
        evidence_from = self._evidence_from()
        if evidence_from and not self.pages.is_live:
            shown = (line.number for one in days for line in one.lines)
            self.pages.evidence.update((self.links.kind, number) for number in shown if number >= evidence_from)
        return self._rendered(
            "changes", self.words("changes"), day=day, days=[] if is_empty else days, strip=strip,
            strip_weeks=strip[-1].week + 1 if strip else 0, is_any=last is not None, most=changes_page.MOST_CHANGES,
            before=self._before(first_shown), zones=self._zones() if self.pages.is_live else (), events=self._events,
            pruned=changes_page.told_of_pruning(strip, days, begins_at(self.conn), self.words),
            evidence_from=evidence_from, feed="v1/atom/all.atom",
            command=self._command(f"changes --since {day or '7d'}"),
        )  # fmt: skip

    def _evidence_from(self) -> int:
        """Return the first change to whose evidence there is a link, of files the newest have some; 0: to none."""
        if not self.question.is_private:
            return 0
        return 1 if self.pages.is_live else overview_lookup.newest_changes_begin(self.conn, MOST_CHANGES)

    def _day(self, text: str) -> date:
        try:
            return date.fromisoformat(text) if len(text) == 10 else date.min
        except ValueError:
            raise NoSuchPage(f"There is no day {plain(text, 40)!r}.") from None

    def _changes_of(self, day: date, most: int = changes_page.MOST_LINES) -> changes_page.ChangeDay:
        found = self._found(*self._bounds(day))
        lines, day_text = self._folder.lines(found.rows, most + 1), day.isoformat()
        return changes_page.ChangeDay(day_text, lines[:most], is_cut=len(lines) > most, is_flood=found.is_cut)

    def _latest_days(self) -> list[changes_page.ChangeDay]:
        """Return the last days with changes: as many as make a page."""
        reading = changes_page.Reading(self._last_change, self._changes_of, self._found, self._bounds)
        return changes_page.latest_days(self._until(), self.pages.zone, reading)

    def _until(self) -> datetime:
        text = self.query.get("before", "")
        return self._bounds(self._day(text))[0] if text and self.pages.is_live else END_OF_TIME

    def _bounds(self, day: date) -> tuple[datetime, datetime]:
        if not 1970 <= day.year < END_OF_TIME.year:
            raise NoSuchPage(f"Nothing was recorded on {day.isoformat()}.")
        begin = datetime(day.year, day.month, day.day, tzinfo=self.pages.zone)
        return begin.astimezone(UTC), (begin + timedelta(days=1)).astimezone(UTC)

    @property
    def _events(self) -> Sequence[str]:
        return changes_page.told_events(is_private=self.question.is_private)

    def _found(self, begin: datetime, end: datetime | None) -> changes_page.FoundChanges:
        filters = Filters(zone=self._plain_word("zone"), name=self._plain_word("name"))
        events = [word for word in self._events if word == self.query.get("event")]
        if self.question.is_private:
            return changes_page.newest(self._changes_in(begin, end, events, filters))
        found = self._changes_in(begin, end, (), filters)
        if not (events or filters.name) and len({choice.target[:2] for choice in self._targets}) < 2:  # one project
            return changes_page.newest(changes_page.once_for_each_zone(found))
        rows = list(found if filters.name else changes_page.once_for_each_zone(found))
        wanted = {row.id for row in rows if not events or events[0] in row.words}
        images = tuple(sorted({row.image_id for row in rows if row.image_id}))
        if filters.name and images:  # under another name they may have changed in between
            rows = list(self._changes_in(begin, end, (), replace(filters, name=(), image_id=images)))
        before = overview_lookup.last_changes_before(self.conn, images, begin)
        told = changes_page.once_for_each_zone(rows, before)
        return changes_page.newest(row for row in told if row.id in wanted)

    def _changes_in(
        self, begin: datetime, end: datetime | None, events: Collection[str], filters: Filters
    ) -> Iterator[ChangeRow]:
        sets, found = self.image_sets, queries_changes.changes(self.conn, begin, end, events, filters)
        return (row for row in found if row.target.kind == self.kind.name and (sets is None or row.image_set in sets))

    def _plain_word(self, part: str) -> tuple[str, ...]:
        word = self.query.get(part, "").strip()
        return (word,) if word and is_storable(word) else ()

    @cached_property
    def _folder(self) -> changes_page.ChangeFolder:
        if not self.question.is_private:
            variants, _ = self._variants()
            known = [(name, self._known(replace(self._of_kind, variant=(name,)))) for name in variants]
            listing = self._once(("places", self._of_kind), lambda: self._places_listing(known))
            status = changes_page.zones_alone(
                ((name, zones.states, listing[name]) for name, zones in known), self.kind.name
            )
            return changes_page.change_folder(status, {}, self.words, self._successors)
        status = queries_status.status(self.conn, self._of_kind, now=self.now)
        return changes_page.change_folder(status, project_names(self.conn), self.words, self._successors)

    def _successors(self, rows: Collection[ChangeRow]) -> Successors:
        """Return what there is in the place of what *rows* withdrew."""
        return history_lookup.successors_of(self.conn, [row.id for row in rows if row.is_alone])

    def _places_listing(
        self, known: Sequence[tuple[str, overview_lookup.ZonesKnown]]
    ) -> Mapping[str, Collection[RegionZone]]:
        return {variant: overview_lookup.places_listing(self.conn, zones) for variant, zones in known}

    def _strip(self, last: datetime) -> list[changes_page.StripDay]:
        today = (self.now if self.pages.is_live else last).astimezone(self.pages.zone).date()
        begin, _ = self._bounds(today - timedelta(days=changes_page.STRIP_DAYS - 1))
        counts = overview_lookup.changes_by_day(
            self.conn, begin, self._bounds(today)[1], self.pages.zone, image_sets=self.image_sets, kind=self.only
        )
        return changes_page.strip_days(counts, today)

    def _before(self, first: date | None) -> str:
        """Return the way to the changes before the day *first*; of files the strip has the days that there are."""
        if first is None or not self.pages.is_live or self._last_change(self._bounds(first)[0]) is None:
            return ""
        return self.links.to("changes", before=first.isoformat(), **{p: self.query.get(p) for p in _CHANGE_FILTERS})

    def _zones(self) -> list[str]:
        return sorted({choice.target.zone for choice in self._targets})

    # --- how well it is known ----------------------------------------------------------------------------------------

    def _coverage(self, _rest: str) -> str:
        _, variant = self._variants()
        filters = replace(self._of_kind, variant=(variant,))
        zones = self._known(filters).states
        first, kept_from = overview_lookup.first_good_run(self.conn), begins_at(self.conn)
        now = self.now if self.pages.is_live else self.run[1] if self.run else self.now
        axis = coverage_page.finished_days(now)
        began = max(filter(None, (first, kept_from)), default=now)
        rows: Sequence[coverage_page.CoverageRow] = ()
        if began < axis.end:
            chosen = self._chosen(filters)
            gaps = overview_lookup.zone_gaps(
                self.conn, chosen, axis.begin, axis.end, stale_after=self.pages.stale_after
            )
            asked = {zone.place for zone in zones}
            gaps = {place: own for place, own in gaps.items() if place in asked}
            rows = coverage_page.coverage_rows(axis, gaps, zones, self.words)
        return self._rendered(
            "coverage", self.words("coverage"), rows=rows, axis=axis, days=coverage_page.DAYS, utc=UTC,
            notice=coverage_page.no_days(zones, first, kept_from, axis, self.words, is_begun=self.run is not None),
            command=self._command("status"),
        )  # fmt: skip

    # --- pins --------------------------------------------------------------------------------------------------------

    def _pins(self, _rest: str) -> str:
        if not self.question.is_private:
            raise NoSuchPage("There is no such page here.")
        rows = self._once(("pins",), self._checked)
        bad, doubted = pins_page.counted(rows)
        shown = pins_page.pinned_rows(rows, self.words)
        return self._rendered(
            "pins", self.words("pins"), rows=shown, more=len(rows) - len(shown), bad=bad, doubted=doubted,
            command="crawler pins",
        )  # fmt: skip

    def _checked(self) -> list[CheckRow]:
        """Return how every known pin stands now, those of node groups too."""
        stale_after = self.pages.stale_after
        live: Sequence[PinRule] = ()
        doubts: Sequence[CheckRow] = ()
        if LIVE_KIND in known_words(self.conn, "kind"):
            live, doubts = live_pins(self.conn, Filters(), now=self.now, stale_after=stale_after)
        rules = [*dict.fromkeys(self.pages.pins()), *live]
        judged = check_lookup.check(
            self.conn, rules, Filters(), now=self.now, stale_after=stale_after, timezone=self.pages.zone
        )
        return [*judged, *doubts]

    # --- evidence ----------------------------------------------------------------------------------------------------

    def _evidence(self, part: str) -> str:
        if not self.question.is_private:
            raise NoSuchPage("There is no such page here.")
        number = int(part) if part.isascii() and part.isdecimal() and len(part) < 20 else 0
        found = self._once(("evidence", number), lambda: explain(self.conn, number)) if number <= LARGEST_ID else None
        if found is None:
            was_there = 0 < number <= changelog.pruned_to(self.conn)
            raise NoSuchPage(f"There is no change {plain(part, 30)}{' any more: it was pruned' if was_there else ''}.")
        shown = evidence_page.evidence(found, self.words)
        title = self.words("evidence_title", n=number)
        return self._rendered("evidence", title, evidence=shown, command=f"crawler explain {number}")


def image_kinds(names: Collection[str]) -> list[Kind]:
    """Return those of the kinds called *names* that are images, that of nodes first; it alone where there is none."""
    return [kind for kind in KINDS.values() if kind.name in names and kind.provider_sets] or [UK8S_IMAGE]


_CHANGE_FILTERS = ("zone", "name", "event")
#: What a name is in a zone where its sets differ.
_LEADING = ("present", "unusable", "unknown", "older", "withdrawn", "none")
