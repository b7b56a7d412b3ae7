"""The catalog of one account: `GetRegion`, then `GetProjectList`, one after the other and read tolerantly."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from crawler.client.api import ApiClient, NetworkFailure
from crawler.client.cancellation import Cancelled, CancelScope
from crawler.client.responses import MESSAGE_CHARACTERS, Refusal, field_of, read_answer
from crawler.client.retry import decide
from crawler.client.throttle import RetryBudget
from crawler.domain.models import Place, Project
from crawler.domain.objections import Tolerable, other_action
from crawler.domain.parsing import read, rest_in
from crawler.domain.text import counted, one_line
from crawler.domain.values import READERS, integer, read_count

#: The longest id of a project and name of a region or zone; together they are the key of a target.
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What an account answered about its projects and places; None where it answered nothing that can be used."""

    projects: tuple[Project, ...] | None = None
    places: tuple[Place, ...] | None = None
    #: Why this is no good discovery, one sentence each.
    problems: tuple[str, ...] = ()
    #: Why a list that came may lack what is there, one sentence each: it says nothing of what it does not list.
    incomplete: tuple[str, ...] = ()
    #: The refusal that stops the account.
    credential: Refusal | None = None
    #: `GetProjectList` is not open to this key, as is usual for sub-accounts: `refusal` says how. Not among `problems`.
    projects_refused: bool = False
    refusal: str = ""

    @property
    def is_good(self) -> bool:
        """Both lists came, and neither was empty."""
        return self.projects is not None and self.places is not None


async def discover(
    client: ApiClient,
    *,
    deadline: float | None = None,
    stop: asyncio.Event | None = None,
    budget: RetryBudget | None = None,
    tolerated: Collection[Tolerable] = (),
) -> Discovery:
    """
    Ask for the regions, then for the projects; refused credentials end it after one request.

    When the first question gets no answer at all the second is not asked: the endpoint is not there. An answer that
    calls itself by another action is none, unless "action" is among what is *tolerated*; one that counts more rows than
    it lists is incomplete, unless "count" is.
    """
    check_action = "action" not in tolerated
    cancel_scope = CancelScope(monotonic=client.timing.monotonic, deadline=deadline, stop=stop)
    found = Discovery()
    async with cancel_scope.watched():
        regions = await _ask(client, "GetRegion", cancel_scope, budget, check_action=check_action)
        if isinstance(regions, Refusal):
            found = Discovery(problems=(_told("GetRegion", regions),))
            if regions.failure_class == "credential":
                return replace(found, credential=regions)
            if regions.is_network or cancel_scope.cut_reason() is not None:
                return found
        else:
            found = _with_places(found, regions, tolerated)
        listed = await _ask(client, "GetProjectList", cancel_scope, budget, check_action=check_action)
    if not isinstance(listed, Refusal):
        return _with_projects(found, listed, tolerated)
    if listed.failure_class == "denied":
        return replace(found, projects_refused=True, refusal=listed.message)
    return replace(
        found,
        problems=(*found.problems, _told("GetProjectList", listed)),
        credential=listed if listed.failure_class == "credential" else None,
    )


def _told(action: str, refusal: Refusal) -> str:
    """Tell a refusal with the id by which the provider finds the request."""
    request = f" [{refusal.request_uuid}]" if refusal.request_uuid else ""
    return f"{action}: {refusal.message}{request}"


async def _ask(
    client: ApiClient, action: str, cancel_scope: CancelScope, budget: RetryBudget | None, *, check_action: bool
) -> Mapping[str, Any] | Refusal:
    form = client.form(action)
    attempts = throttled = 0
    was_misdirected = False
    while True:
        try:
            answer = await client.attempt(form, cancel_scope, is_retry=attempts + throttled > 0)
            result = read_answer(answer, action)
        except NetworkFailure as failure:
            result = failure.refusal()
        except Cancelled as cut:
            return Refusal(failure_class="transient", message=f"not asked: {cut}")
        if not isinstance(result, Refusal):
            sentence = _misdirected(result, action) if check_action else None
            if sentence is None:
                return result
            # asked again once, like after a transient failure
            result = Refusal(
                failure_class="defect" if was_misdirected else "transient",
                message=sentence,
                request_uuid=answer.request_uuid,
            )
            was_misdirected = True
        refusal = client.heeded(result)
        attempts += not refusal.is_throttled
        wait_seconds = decide(
            client.options.retry_policy,
            refusal.failure_class,
            attempts_made=attempts,
            throttled_before=throttled,
            is_throttled=refusal.is_throttled,
            retry_after_seconds=refusal.retry_after_seconds,
            uniform=client.timing.uniform,
        ).wait_seconds
        throttled += refusal.is_throttled
        if wait_seconds is None or wait_seconds >= cancel_scope.remaining_seconds():
            return refusal
        if budget is not None and not refusal.is_throttled and not budget.take():
            return refusal
        try:
            await cancel_scope.wait(client.timing.sleep(wait_seconds))
        except Cancelled:
            return refusal


def _misdirected(document: Mapping[str, Any], action: str) -> str | None:
    """Say why an answer is none to *action*: it calls itself by another; None: it does not."""
    stated = field_of(document, "Action")
    return other_action(stated, action) if isinstance(stated, str) and stated.strip() else None


def _rows(document: Mapping[str, Any], action: str, name: str) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    rows = read(field_of(document, name))
    if not isinstance(rows, list):
        return [], (f"{action}: the answer holds no list {name}",)
    if not rows:
        return [], (f"{action}: the list {name} is empty",)
    good = [row for row in rows if isinstance(row, Mapping)]
    return good, () if good else (f"{action}: no row of {name} is an object",)


def _with_places(found: Discovery, document: Mapping[str, Any], tolerated: Collection[Tolerable]) -> Discovery:
    rows, problems = _rows(document, "GetRegion", "Regions")
    numbers: dict[tuple[str, str], int | None] = {}
    readable = 0
    for row in rows:
        place = (_text(row, "Region"), _text(row, "Zone"))
        number = integer(field_of(row, "RegionId"))
        if not all(map(_is_name, place)):
            continue
        readable += 1
        # A zone listed twice under two numbers has none that can be relied on.
        numbers[place] = number if numbers.get(place, number) == number else None
    if rows and not numbers:
        problems = ("GetRegion: no row names both a region and a zone",)
    return replace(
        found,
        places=tuple(Place(region, zone, numbers[region, zone]) for region, zone in sorted(numbers)) or None,
        problems=(*found.problems, *problems),
        incomplete=_lacking(document, "GetRegion", "Regions", "Region and Zone", readable, tolerated),
    )


def _with_projects(found: Discovery, document: Mapping[str, Any], tolerated: Collection[Tolerable]) -> Discovery:
    rows, problems = _rows(document, "GetProjectList", "ProjectSet")
    projects: dict[str, Project] = {}
    readable = 0
    for row in rows:
        project_id = _text(row, "ProjectId")
        if _is_name(project_id):
            readable += 1
            is_default = READERS["flag"](field_of(row, "IsDefault")) is True
            projects.setdefault(project_id, Project(project_id, _text(row, "ProjectName"), is_default))
    if rows and not projects:
        problems = ("GetProjectList: no row names a project",)
    lacking = _lacking(document, "GetProjectList", "ProjectSet", "ProjectId", readable, tolerated)
    return replace(
        found,
        projects=tuple(projects[project_id] for project_id in sorted(projects)) or None,
        problems=(*found.problems, *problems),
        incomplete=(*found.incomplete, *lacking),
    )


def _lacking(
    document: Mapping[str, Any], action: str, name: str, wanted: str, readable: int, tolerated: Collection[Tolerable]
) -> tuple[str, ...]:
    """
    Return in a sentence why the list *name*, in which so many rows are *readable*, lacks something; none: it does not.

    *wanted* is what a row has to name. A list without any readable row is none, and is told of as such.
    """
    if not readable:
        return ()
    rows = len(read(field_of(document, name)))
    why = []
    if readable < rows:
        names = f"a row names its {wanted} in 1 to {LONGEST_NAME} characters"
        why.append(f"{rows - readable} of {counted(rows, 'row')} cannot be read ({names})")
    singular = name.removesuffix("Set").removesuffix("s")
    for key in ("TotalCount", f"{singular}Count", f"{name}Count") if "count" not in tolerated else ():
        stated = read_count(field_of(document, key))
        if stated is not None and stated > rows:
            why.append(f"{key} is {stated}, and {counted(rows, 'row is', 'rows are')} listed")
    rest = rest_in({key: value for key, value in document.items() if key.casefold() != name.casefold()})
    if rest and "count" not in tolerated:
        why.append(f"{rest} says that there is more than it lists")
    sentence = f"{action}: {' and '.join(why)}, so the list is incomplete: what it lacks does not count as missing"
    return (sentence,) if why else ()


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME


def _text(row: Mapping[str, Any], name: str) -> str:
    value = field_of(row, name)
    return one_line(value, MESSAGE_CHARACTERS) if isinstance(value, str) else ""
