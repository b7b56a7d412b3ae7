"""The catalog of one account: `GetRegion`, then `GetProjectList`, one after the other and read tolerantly."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crawler.client.api import ApiClient, NetworkFailure
from crawler.client.cancellation import Cancelled, CancelScope
from crawler.client.responses import MESSAGE_CHARACTERS, Refusal, field_of, read_answer
from crawler.client.retry import decide
from crawler.client.throttle import RetryBudget
from crawler.domain.models import Place, Project
from crawler.domain.objections import Tolerable, other_action
from crawler.domain.parsing import read
from crawler.domain.text import one_line
from crawler.domain.values import integer

#: The longest id of a project and name of a region or zone; together they are the key of a target.
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What an account answered about its projects and places; None where it answered nothing that can be used."""

    projects: tuple[Project, ...] | None = None
    places: tuple[Place, ...] | None = None
    #: Why this is no good discovery, one sentence each.
    problems: tuple[str, ...] = ()
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
    calls itself by another action is none, unless "action" is among what is *tolerated*.
    """
    check_action = "action" not in tolerated
    cancel_scope = CancelScope(monotonic=client.timing.monotonic, deadline=deadline, stop=stop)
    problems: tuple[str, ...]
    async with cancel_scope.watched():
        regions = await _ask(client, "GetRegion", cancel_scope, budget, check_action=check_action)
        if isinstance(regions, Refusal):
            problems = (_told("GetRegion", regions),)
            if regions.failure_class == "credential":
                return Discovery(problems=problems, credential=regions)
            if regions.is_network or cancel_scope.cut_reason() is not None:
                return Discovery(problems=problems)
            places = None
        else:
            places, problems = _places(regions)
        listed = await _ask(client, "GetProjectList", cancel_scope, budget, check_action=check_action)
    if isinstance(listed, Refusal):
        if listed.failure_class == "denied":
            return Discovery(places=places, problems=problems, projects_refused=True, refusal=listed.message)
        return Discovery(
            places=places,
            problems=(*problems, _told("GetProjectList", listed)),
            credential=listed if listed.failure_class == "credential" else None,
        )
    projects, more = _projects(listed)
    return Discovery(projects=projects, places=places, problems=(*problems, *more))


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


def _places(document: Mapping[str, Any]) -> tuple[tuple[Place, ...] | None, tuple[str, ...]]:
    rows, problems = _rows(document, "GetRegion", "Regions")
    numbers: dict[tuple[str, str], int | None] = {}
    for row in rows:
        place = (_text(row, "Region"), _text(row, "Zone"))
        number = integer(field_of(row, "RegionId"))
        if not all(map(_is_name, place)):
            continue
        # A zone listed twice under two numbers has none that can be relied on.
        numbers[place] = number if numbers.get(place, number) == number else None
    if rows and not numbers:
        problems = ("GetRegion: no row names both a region and a zone",)
    problems += _too_long(rows, "GetRegion", "Region", "Zone")
    places = tuple(Place(region, zone, numbers[region, zone]) for region, zone in sorted(numbers))
    return places or None, problems


def _projects(document: Mapping[str, Any]) -> tuple[tuple[Project, ...] | None, tuple[str, ...]]:
    rows, problems = _rows(document, "GetProjectList", "ProjectSet")
    found: dict[str, Project] = {}
    for row in rows:
        project_id = _text(row, "ProjectId")
        if _is_name(project_id):
            is_default = field_of(row, "IsDefault") is True
            found.setdefault(project_id, Project(project_id, _text(row, "ProjectName"), is_default))
    if rows and not found:
        problems = ("GetProjectList: no row names a project",)
    problems += _too_long(rows, "GetProjectList", "ProjectId")
    return tuple(found[project_id] for project_id in sorted(found)) or None, problems


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME


def _too_long(rows: Iterable[Mapping[str, Any]], action: str, *names: str) -> tuple[str, ...]:
    left_out = sum(any(len(_text(row, name)) > LONGEST_NAME for name in names) for row in rows)
    sentence = f"{action}: rows with a name of more than {LONGEST_NAME} characters were left out: {left_out}"
    return (sentence,) if left_out else ()


def _text(row: Mapping[str, Any], name: str) -> str:
    value = field_of(row, name)
    return one_line(value, MESSAGE_CHARACTERS) if isinstance(value, str) else ""
