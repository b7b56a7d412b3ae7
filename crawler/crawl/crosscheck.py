"""
Once a day, where an account wants it: a region asked without a Zone beside the sum of what its zones list.

The API answers both questions and need not answer them alike. What differs is named in the run's notices; nothing is
opened, changed or closed by it, and no outcome depends on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, select

from crawler.client.api import ApiClient
from crawler.client.fetcher import Fetcher
from crawler.client.region_queue import Ask
from crawler.client.throttle import RetryBudget
from crawler.crawl.reply_reader import Judge
from crawler.db.engine import Fence, begin, read
from crawler.db.runs import PlannedTarget, save_setting, saved_setting
from crawler.db.schema import OPEN_RUN, Hold, HoldImage, ImageVersion, Interval, OutcomeSpan
from crawler.db.sql import portions
from crawler.db.thread import DatabaseThread
from crawler.domain.kinds import KINDS
from crawler.domain.models import DEFAULT_VARIANT, END_OF_TIME, Catalog, Failure, ImageKey, Reply, Snapshot, Target
from crawler.domain.objections import LastGood
from crawler.domain.rows import Notice
from crawler.domain.targets import request_parameters, zones_of_numbers

#: A run that begins a little earlier in the day than the last one with a check has its own.
EVERY = timedelta(hours=23, minutes=30)
#: Images of one region that are named; a notice is for people.
NAMED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionQuestion:
    """A region to ask without a Zone, and its zones as the run has asked them: for one project, without parameters."""

    target: Target
    zones: Mapping[str, PlannedTarget]
    #: The catalog has no other zones there.
    is_whole: bool


def questions(
    account: str, planned: Mapping[Target, PlannedTarget], catalog: Catalog | None
) -> tuple[RegionQuestion, ...]:
    """Return what to ask of an account: each region once per kind, for the project of which most zones are asked."""
    there = {(place.region, place.zone) for place in (catalog.places if catalog else ())}
    found: dict[tuple[str, str], dict[str, dict[str, PlannedTarget]]] = {}
    for target, entry in planned.items():
        kind = KINDS[target.kind]
        if target.account == account and target.variant == DEFAULT_VARIANT and target.zone and not kind.is_composed:
            by_project = found.setdefault((target.region, target.kind), {})
            by_project.setdefault(target.project, {})[target.zone] = entry
    asked = []
    for (region, kind_name), by_project in sorted(found.items()):
        project = min(by_project, key=lambda name: (-len(by_project[name]), name))
        target = Target(account, project, region, "", kind_name)
        zones = by_project[project]
        is_whole = all(zone in zones for place, zone in there if place == region)
        asked.append(RegionQuestion(target=target, zones=zones, is_whole=is_whole))
    return tuple(asked)


def is_due(conn: Connection, account_id: int, now: datetime) -> bool:
    """Return whether the last check of an account is long enough ago *now*."""
    last = saved_setting(conn, _setting(account_id))
    return last is None or now - datetime.fromisoformat(last) >= EVERY


def note_done(conn: Connection, account_id: int, now: datetime) -> None:
    """Remember when an account was checked."""
    save_setting(conn, _setting(account_id), now.isoformat())


def _setting(account_id: int) -> str:
    return f"crosscheck_{account_id}"


async def ask_regions(
    client: ApiClient,
    asked: Collection[RegionQuestion],
    *,
    deadline: float,
    stop: asyncio.Event | None,
) -> dict[Target, Reply | Failure]:
    """Ask the regions, under the limits of the account, and return what came."""
    found: dict[Target, Reply | Failure] = {}

    async def keep(item: Reply | Failure) -> None:
        found[item.target] = item

    def question(target: Target) -> Ask:
        kind = KINDS[target.kind]
        params = {**kind.constants, **request_parameters(target, {})}
        return Ask(target=target, action=kind.action, params=params, secrets=kind.secrets)

    fetcher = Fetcher(
        client, question=question, sink=keep, budget=RetryBudget(len(asked)), deadline=deadline, stop=stop
    )
    await fetcher.run([one.target for one in asked])
    return found


def differences(
    conn: Connection,
    judge: Judge,
    asked: Iterable[RegionQuestion],
    found: Mapping[Target, Reply | Failure],
    numbers: Mapping[int, str | None],
) -> Iterator[Notice]:
    """
    Yield in a notice what each region's answer has that no zone lists, and what it lacks; or why it cannot be compared.

    *numbers* are the ZoneIds of the catalog: what belongs to a zone that is not asked is no difference.
    """
    for one in asked:
        listed_at = _listed_images(conn, (entry.target_id for entry in one.zones.values()))
        unseen = sorted(zone for zone, entry in one.zones.items() if entry.target_id not in listed_at)
        item = found.get(one.target)
        if unseen:
            yield _notice(one, f"not compared, since {', '.join(unseen)} was not observed well")
            continue
        snapshot = _read(judge, item) if isinstance(item, Reply) else None
        if snapshot is None:
            said = item.message if isinstance(item, Failure) else "the answer cannot be understood"
            yield _notice(one, f"not compared: {said}")
            continue
        zones_of: dict[ImageKey, list[str]] = {}
        for zone, entry in one.zones.items():
            for key in listed_at[entry.target_id]:
                zones_of.setdefault(key, []).append(zone)
        stated = {key: numbers.get(attributes.get("zone_id", 0)) for key, attributes in snapshot.images.items()}
        listed = {key for key, zone in stated.items() if (one.is_whole if zone is None else zone in one.zones)}
        if more := sorted(listed - zones_of.keys()):
            yield _notice(one, f"lists what none of its zones does: {_named(key.image_id for key in more)}", "more")
        if fewer := sorted(zones_of.keys() - snapshot.images.keys()):
            told = (f"{key.image_id} ({', '.join(sorted(zones_of[key]))})" for key in fewer)
            yield _notice(one, f"does not list what its zones do: {_named(told)}", "fewer")


def _read(judge: Judge, reply: Reply) -> Snapshot | None:
    """Return what a region's answer lists; None where it is none to the question, or not understood."""
    try:
        snapshot = judge.read(reply, {}, {})
    except Exception:  # noqa: BLE001 - an odd answer is no reason to lose the run
        return None
    is_doubtful = judge.objection(reply.target, snapshot, LastGood()) or snapshot.unreadable or snapshot.excess
    return None if is_doubtful else snapshot


def _notice(one: RegionQuestion, sentence: str, key: str = "") -> Notice:
    target = one.target
    told = f"{target.account}: cross-check: {target.region} without Zone ({target.kind}) {sentence}"
    about = f"{target.region} {target.kind}"
    return Notice(account=target.account, sentence=told, key=f"crosscheck {key}", about=about, is_event=True)


def _named(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return f"{', '.join(every[:NAMED])}{more}"


def _listed_images(conn: Connection, target_ids: Iterable[int]) -> dict[int, frozenset[ImageKey]]:
    """Return what each of the targets lists whose last outcome was good: what is on hold is open, and not listed."""
    found: dict[int, frozenset[ImageKey]] = {}
    for portion in portions(target_ids):
        troubled = set(
            conn.scalars(
                select(OutcomeSpan.target_id).where(
                    OutcomeSpan.target_id.in_(portion),
                    OutcomeSpan.to_run_id == OPEN_RUN,
                    OutcomeSpan.outcome != "held",
                )
            )
        )
        images: dict[int, set[ImageKey]] = {target_id: set() for target_id in portion if target_id not in troubled}
        rows = (
            select(Interval.target_id, ImageVersion.image_set, ImageVersion.image_id)
            .join(ImageVersion, ImageVersion.id == Interval.version_id)
            .where(Interval.target_id.in_(images), Interval.valid_to == END_OF_TIME)
        )
        for target_id, image_set, image_id in conn.execute(rows):
            images[target_id].add(ImageKey(image_set, image_id))
        on_hold = (
            select(Hold.target_id, HoldImage.image_set, HoldImage.image_id)
            .join(HoldImage, HoldImage.hold_id == Hold.id)
            .where(Hold.target_id.in_(images), Hold.status == "open")
        )
        for target_id, image_set, image_id in conn.execute(on_hold):
            images[target_id].discard(ImageKey(image_set, image_id))
        found |= {target_id: frozenset(keys) for target_id, keys in images.items()}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck:
    """The checks of one run over the *planned* targets."""

    engine: Engine
    fence: Fence
    judge: Judge
    planned: Mapping[Target, PlannedTarget]
    in_thread: DatabaseThread

    async def run(
        self,
        account: str,
        client: ApiClient,
        catalog: Catalog | None,
        *,
        account_id: int,
        now: datetime,
        deadline: float,
        stop: asyncio.Event | None,
        commit: Callable[[], None],
    ) -> list[Notice]:
        """
        Check an *account* if its last check is long enough before *now*, and return what is to be noticed.

        *commit* writes what the run has recorded so far: that is what the regions are compared with.
        """
        if not await self.in_thread(self._is_due, account_id, now):
            return []
        await self.in_thread(commit)
        asked = questions(account, self.planned, catalog)
        found = await ask_regions(client, asked, deadline=deadline, stop=stop)
        numbers = zones_of_numbers(catalog) if catalog else {}
        return await self.in_thread(self._compare, account_id, asked, found, numbers, now)

    def _is_due(self, account_id: int, now: datetime) -> bool:
        with read(self.engine) as conn:
            return is_due(conn, account_id, now)

    def _compare(
        self,
        account_id: int,
        asked: Iterable[RegionQuestion],
        found: Mapping[Target, Reply | Failure],
        numbers: Mapping[int, str | None],
        now: datetime,
    ) -> list[Notice]:
        with begin(self.engine, self.fence) as conn:
            note_done(conn, account_id, now)
            return list(differences(conn, self.judge, asked, found, numbers))
