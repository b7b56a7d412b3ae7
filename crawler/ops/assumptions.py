"""
What the API's documentation leaves open, asked with real keys: some forty requests per account that change nothing.

The answers name no key, account, project, image or address, so that they may be sent to somebody. Facts that the
questions rest on: UCloudDoc-Team/api at cd570dff (`uk8s-api/describe_uk8s_image.md`: MachineType is O where none is
stated; `uhost-api/describe_image.md`: Limit is 20, no maximum is stated) and ucloud-sdk-python3 0.11.150.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crawler.client.api import ApiClient, NetworkFailure
from crawler.client.api_options import Timing
from crawler.client.cancellation import Cancelled, CancelScope
from crawler.client.discovery import discover
from crawler.client.responses import Refusal, field_of, read_answer
from crawler.config.models import DEFAULT_ENDPOINT, AccountSettings, Settings
from crawler.crawl.run import ThrottleOf, connect
from crawler.crawl.shared_rates import shared_here, sharers
from crawler.domain.kinds.node_group import NODE_GROUP
from crawler.domain.kinds.uk8s_image import UK8S_IMAGE
from crawler.domain.models import Target
from crawler.domain.parsing import parse, read
from crawler.domain.rows import JsonRow
from crawler.domain.targets import reconcile, request_parameters
from crawler.domain.text import counted, one_line
from crawler.ops.doctor_cloud import known_catalog

#: The longest look at one account, for each of those that share its rate.
PATIENCE_SECONDS = 180.0
IMAGES = UK8S_IMAGE.action
#: What lists something that might be inventoried, with what each needs besides a place.
ACTIONS: Mapping[str, Mapping[str, str]] = {
    IMAGES: {},
    "DescribeImage": {"Limit": "1"},
    "DescribePHostImage": {"Limit": "1"},
    "GetUK8SVersions": {"Kind": "Dedicated"},
    "GetUK8SAvailableInstanceTypes": {},
    "DescribeAvailableInstanceTypes": {},
    "ListUK8SClusterV2": {"Limit": "1"},
    "DescribeULHostImage": {"Limit": "1"},
    "DescribeCompShareImages": {"Limit": "1"},
    "GetUEcImage": {},
}
INSTANCE_TYPES = ("GetUK8SAvailableInstanceTypes", "DescribeAvailableInstanceTypes")
#: Asked about where no instance type is told.
GPU_TYPES = ("V100", "T4")
MOST_GPU_TYPES = 8
LIMITS = (20, 100, 200, 500, 1000)
MOST_ZONES = 10
#: Ids of projects, resources, images and requests; addresses of machines, pages and people.
_PRIVATE = re.compile(
    r"\b(?:org|uhost|uphost|uk8s|user|vpc|subnet|u?image|bsi)-[A-Za-z0-9-]+|\b[0-9a-f]{8}-[0-9a-f-]{27}\b"
    r"|\S*(?:://|@)\S*|(?<=\bhost )\S+|\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?"
    r"|(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])|\b(?:[\w-]+\.)+[A-Za-z]{2,}\b(?::\d+)?"
)
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption(JsonRow):
    """One open question, and what an account's cloud answered."""

    #: Counts the accounts of the configuration, whose names are nobody's business.
    account: int
    #: `public` for the provider's own address, else `another`.
    endpoint: str
    question: str
    #: In words; `cannot be told: …` where it is still open.
    answer: str
    details: Mapping[str, Any] = field(default_factory=dict)


def ask_all(settings: Settings, timing: Timing) -> list[Assumption]:
    """Ask the cloud of every account of *settings*, and return what was answered, account by account."""

    async def together() -> list[list[Assumption]]:
        accounts = enumerate(settings.accounts, start=1)
        throttle = shared_here()
        looks = (
            ask(account, number, timing, throttle, PATIENCE_SECONDS * sharers(settings, account))
            for number, account in accounts
        )
        return await asyncio.gather(*looks)

    return [one for found in asyncio.run(together()) for one in found]


async def ask(
    account: AccountSettings, number: int, timing: Timing, throttle: ThrottleOf, patience: float
) -> list[Assumption]:
    """Ask one account's cloud everything; *number* counts the accounts. Raises nothing of what the cloud does."""
    endpoint = "public" if account.endpoint == DEFAULT_ENDPOINT else "another"
    deadline = timing.monotonic() + patience
    found: list[Assumption] = []

    def told(question: str, answer: str, **details: Any) -> None:
        found.append(Assumption(account=number, endpoint=endpoint, question=question, answer=answer, details=details))

    try:
        async with connect(account, timing) as client:
            client.throttle = throttle(account, client.throttle)
            discovery = await discover(client, deadline=deadline, tolerated=account.tolerate)
            catalog = known_catalog(account, discovery)
            selection = account.selection()
            asked = reconcile(catalog, selection, (), previous=None, is_good=True).asked if catalog else ()
            if discovery.credential is not None or not asked:
                refusal = discovery.credential.message if discovery.credential else "no zone is known"
                told("which actions are known", f"cannot be told: {impersonal(refusal)}")
                return found
            brake = CancelScope(monotonic=timing.monotonic, deadline=deadline)
            async with brake.watched():
                async for question, answer, details in _Asker(client, brake, asked).everything():
                    told(question, answer, **details)
    except (NetworkFailure, Cancelled, OSError, ValueError) as exc:
        told("all others", f"cannot be told: {impersonal(str(exc))}")
    return found


Told = tuple[str, str, dict[str, Any]]


class _Asker:
    """Asks about the zones of one region of an account, and mostly about the first of them."""

    def __init__(self, client: ApiClient, brake: CancelScope, asked: Iterable[Target]) -> None:
        zones: dict[tuple[str, str], dict[str, Target]] = {}
        for target in asked:
            zones.setdefault((target.project, target.region), {}).setdefault(target.zone, target)
        # where a region has several zones, more can be told
        chosen = max(zones.values(), key=len)
        self._client, self._brake, self._first = client, brake, next(iter(chosen.values()))
        self._zones = list(chosen)[:MOST_ZONES]

    async def everything(self) -> AsyncIterator[Told]:
        """Yield question, answer and details, one after the other."""
        answers = {action: await self._ask(action, more) for action, more in ACTIONS.items()}
        yield (
            "which actions are known",
            f"{sum(not isinstance(said, Refusal) for said in answers.values())} of {len(answers)} answer",
            {action: _outcome(said) for action, said in answers.items()},
        )
        yield await self._machine_types(answers)
        yield await self._limit()
        yield await self._region()

    async def _machine_types(self, answers: Mapping[str, Mapping[str, Any] | Refusal]) -> Told:
        question = "does the default machine type hide images of GPU machines"
        default = await self._images()
        if isinstance(default, str):
            return question, f"cannot be told: {default}", {}
        types = next((found for name in INSTANCE_TYPES if (found := _gpu_types(answers[name]))), list(GPU_TYPES))
        details: dict[str, Any] = {"default": len(default)}
        general = await self._images(MachineType="O")
        details["MachineType O"] = general if isinstance(general, str) else _compared(general, default)
        hidden: set[str] = set()
        for name in types[:MOST_GPU_TYPES]:
            of_type = await self._images(MachineType="G", GPUType=name)
            details[f"MachineType G, GPUType {name}"] = (
                of_type if isinstance(of_type, str) else _compared(of_type, default)
            )
            hidden |= set() if isinstance(of_type, str) else of_type - default
        said = f"yes: {counted(len(hidden), 'image is', 'images are')} listed for GPU machines alone"
        return question, said if hidden else "no", details

    async def _limit(self) -> Told:
        question = "what is the largest Limit of DescribeImage"
        details: dict[str, Any] = {}
        largest = total = 0
        for limit in LIMITS:
            said = await self._ask("DescribeImage", {"Limit": str(limit)})
            if isinstance(said, Refusal):
                details[f"Limit {limit}"] = _outcome(said)
                continue
            rows = read(field_of(said, "ImageSet"))
            count = len(rows) if isinstance(rows, list) else 0
            total = field_of(said, "TotalCount") if isinstance(field_of(said, "TotalCount"), int) else total
            details[f"Limit {limit}"] = f"{count} of {total}"
            largest = max(largest, count)
        if largest and largest < total:
            return question, f"{largest} of {total} came at most", details
        return question, f"cannot be told: {largest} of {counted(total, 'image')} came at once", details

    async def _region(self) -> Told:
        question = "does a question without Zone list what the zones of its region list"
        whole = await self._images(Zone="")
        if isinstance(whole, str):
            return question, f"cannot be told: {whole}", {}
        zones: dict[str, set[str]] = {}
        details: dict[str, Any] = {}
        for zone in self._zones:
            images = await self._images(Zone=zone)
            if isinstance(images, str):
                details[zone] = images
            else:
                zones[zone] = images
                details[zone] = len(images)
        union = set().union(*zones.values())
        details["without Zone"] = _compared(whole, union)
        return question, "yes" if whole == union else "no: they differ", details

    async def _images(self, **more: str) -> set[str] | str:
        """Return the ids that one question lists, or why it lists none."""
        said = await self._ask(IMAGES, more)
        if isinstance(said, Refusal):
            return _outcome(said)
        zone = more.get("Zone", self._first.zone)
        return {key.image_id for key in parse(said, UK8S_IMAGE, zone, {}).images}

    async def _ask(self, action: str, more: Mapping[str, str]) -> Mapping[str, Any] | Refusal:
        wanted = {**request_parameters(self._first, {}), **more}
        form = self._client.form(action, {name: value for name, value in wanted.items() if value})
        # whatever is asked: what is printed here goes to strangers
        answer = await self._client.attempt(form, self._brake, secrets=NODE_GROUP.secrets)
        said = read_answer(answer, action)
        return self._client.heeded(said) if isinstance(said, Refusal) else said


def _gpu_types(said: Mapping[str, Any] | Refusal) -> list[str]:
    """Return the machine types that an answer lists under the parent type G."""
    rows = [] if isinstance(said, Refusal) else read(field_of(said, "AvailableInstanceTypes"))
    listed = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return list(dict.fromkeys(str(field_of(row, "Name")) for row in listed if field_of(row, "ParentType") == "G"))


def _compared(images: set[str], others: set[str]) -> str:
    return f"{len(images)}, of which {len(images - others)} are only here; {len(others - images)} are missing"


def _outcome(said: Mapping[str, Any] | Refusal) -> str:
    if not isinstance(said, Refusal):
        return "answers"
    code = f"RetCode {said.ret_code}: " if said.ret_code is not None else ""
    return code + impersonal(said.message.partition(" (RetCode ")[0])


def impersonal(text: str) -> str:
    """Return what the cloud or the network said without ids and addresses that are somebody's own."""
    return one_line(_PRIVATE.sub("…", text), _SHOWN_CHARACTERS)
