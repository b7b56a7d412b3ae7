"""
What is offered in each zone, for accounts with `variants = "auto"`: versions per region, machine types per zone.

Asked like everything else, through the account's client and its limits, and read as the kinds declare it. A place that
does not answer, or answers with nothing, is left out: then what is known of it is asked on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from crawler.client.api import ApiClient
from crawler.client.fetcher import Fetcher
from crawler.client.region_queue import Ask
from crawler.client.throttle import RetryBudget
from crawler.config.models import AccountSettings
from crawler.domain.kinds import KINDS
from crawler.domain.kinds.instance_type import INSTANCE_TYPE
from crawler.domain.kinds.uk8s_version import UK8S_VERSION
from crawler.domain.matrix import Offer, Offers, machines_of, versions_of
from crawler.domain.models import Attributes, Catalog, Failure, Reply, Target
from crawler.domain.objections import LastGood, answered_by, objection
from crawler.domain.parsing import members, parse
from crawler.domain.targets import expand
from crawler.domain.text import agreeing
from crawler.errors import contained

#: Projects that are tried one after the other where an action is not open in the first: what is sold is no project's.
PROJECTS_TRIED = 3
#: How much of the time that a run has may pass with it.
SHARE_OF_TIME = 0.25

Answers = dict[Target, Reply | Failure]
#: A region's versions have no zone.
Place = tuple[str, str, str]
#: The action that told what is sold in a zone, by `region/zone`: another one may list other things.
SoldBy = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundOffers:
    """What is offered where, and what could not be told."""

    offers: Offers
    #: One sentence each.
    problems: tuple[str, ...] = ()
    #: Which of two actions told what is sold, by region and zone.
    sold_by: SoldBy = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """What an answer lists, by id, and which of two actions gave it."""

    records: Mapping[str, Attributes]
    action: str


async def ask_offers(
    account: AccountSettings,
    client: ApiClient,
    catalog: Catalog,
    deadline: float,
    stop: asyncio.Event | None,
    sold_by: SoldBy,
) -> FoundOffers:
    """Ask what is offered in each place of *catalog* that the account selects; *sold_by* told it the last time."""
    wanted = replace(account.selection(), kinds=(UK8S_VERSION.name, INSTANCE_TYPE.name))
    candidates: dict[Place, list[Target]] = {}
    for target, _ in expand(catalog, wanted):
        candidates.setdefault((target.kind, target.region, target.zone), []).append(target)
    answers: dict[Place, Reply | Failure] = {}
    now = client.timing.monotonic()
    until = now + max(0.0, deadline - now) * SHARE_OF_TIME
    for number in range(PROJECTS_TRIED):
        asked = {
            targets[number]: place
            for place, targets in candidates.items()
            if number < len(targets) and (number == 0 or _is_denied(answers.get(place)))
        }
        if asked:
            said = await _ask(account, client, asked, until, stop)
            answers |= {asked[target]: answer for target, answer in said.items()}
    lists = {
        place: _read(account, answer, sold_by.get("/".join(place[1:]), "") if place[0] == INSTANCE_TYPE.name else "")
        for place, answer in answers.items()
    }
    offers = {}
    told_by: dict[str, str] = {}
    for kind, region, zone in candidates:
        machines, versions = lists.get((kind, region, zone)), lists.get((UK8S_VERSION.name, region, ""))
        if kind == INSTANCE_TYPE.name and isinstance(machines, _Listed) and isinstance(versions, _Listed):
            offer = Offer(machines_of(machines.records.items()), versions_of(versions.records))
            if all(offer):
                offers[region, zone] = offer
                told_by[f"{region}/{zone}"] = machines.action
    return FoundOffers(offers=offers, problems=tuple(_problems(lists)), sold_by=told_by)


def _is_denied(answer: Reply | Failure | None) -> bool:
    return isinstance(answer, Failure) and answer.failure_class == "denied"


async def _ask(
    account: AccountSettings, client: ApiClient, targets: Iterable[Target], until: float, stop: asyncio.Event | None
) -> Answers:
    answers: Answers = {}

    async def take(item: Reply | Failure) -> None:
        answers[item.target] = item

    wanted = list(targets)
    fetcher = Fetcher(
        client,
        question=lambda target: Ask.about(target, {}, account.tolerate),
        sink=take,
        budget=RetryBudget(len(wanted)),
        deadline=until,
        stop=stop,
    )
    await fetcher.run(wanted)
    return answers


def _read(account: AccountSettings, answer: Reply | Failure, last_action: str) -> _Listed | str:
    """
    Return what an answer lists, or in a sentence why it is no good discovery; the last one was to *last_action*.
    """
    if isinstance(answer, Failure):
        return answer.message
    target, kind = answer.target, KINDS[answer.target.kind]
    faults: list[str] = []
    with contained(faults.append):
        document = members(answer.body)
        if document is None:
            return "the answer is not a JSON object"
        snapshot = parse(document, kind, target.zone, {})
        against = objection(target, kind, snapshot, LastGood(excess=0, answered_by=last_action), account.tolerate)
        if against is not None:
            return against
        if snapshot.unreadable:
            some = f"{snapshot.unreadable} of its {snapshot.records} records"
            return f"{agreeing(snapshot.records, 'its only record', some)} cannot be read"
        if not snapshot.images:
            return "the list is empty"
        records = {key.image_id: attributes for key, attributes in snapshot.images.items()}
        return _Listed(records=records, action=answered_by(kind, snapshot))
    return faults[0]


def _problems(lists: Mapping[Place, _Listed | str]) -> Iterable[str]:
    """Yield a sentence for each list that nobody could tell, with where that was."""
    for kind in (UK8S_VERSION, INSTANCE_TYPE):
        untold = {place: said for place, said in lists.items() if place[0] == kind.name and isinstance(said, str)}
        if untold:
            where = sorted(zone or region for _, region, zone in untold)
            more = f" and {len(where) - 3} more" if len(where) > 3 else ""
            yield (
                f"{kind.action}: what is offered in {', '.join(where[:3])}{more} is not known, so what was asked there "
                f"before is asked on: {next(iter(untold.values()))}"
            )
