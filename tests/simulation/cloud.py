"""
The wire: a client whose transport is the model instead of a socket, and a witness that notes what every call brought.

Everything above the transport is the product's: signing, throttle, cancel_scope, retries, circuits, discovery, the
fetcher.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import parse_qsl

from crawler.client.api import ApiClient, NetworkFailure, Room
from crawler.client.cancellation import CancelScope
from crawler.client.responses import Answer
from crawler.emulator import EmulatedAccount, Fault
from crawler.emulator.responses import Answers, RefusedRequest, refusal_body
from tests.simulation.lies import Heard, Lie, heard_of
from tests.simulation.model import Key, Model, Spot, Stated

_ACCOUNT = EmulatedAccount()
_PAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"

#: What an answer is, by the words of the contract; `network`: there was none.
Meaning = Literal["good", "throttled", "transient", "denied", "credential", "defect"]


class Question(NamedTuple):
    """What one call asks."""

    action: str
    project: str
    region: str
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one call brought."""

    question: Question
    at: datetime
    meaning: Meaning
    #: Of a good answer about images: what it says, and what the images that it lists state.
    heard: Heard = field(default_factory=Heard)
    listed: Mapping[Key, Stated] = field(default_factory=dict)
    #: What was really there at that moment; differs from `listed` where the answer lies.
    offered: frozenset[Key] = frozenset()
    #: Of a good answer about the catalog: its rows.
    rows: tuple[Mapping[str, Any], ...] = ()
    #: Of a good answer about images: how it came.
    body: bytes = b""
    request_uuid: str = ""


class Cloud:
    """One run's cloud: the model, the faults of the day, and the log of what was said."""

    def __init__(self, model: Model, rng: random.Random, faults: tuple[Fault, ...], lies: Mapping[int, Lie]) -> None:
        """Take *lies* by the identity of the fault that tells them."""
        self.model = model
        self.log: list[Said] = []
        self._rng = rng
        self._faults = faults
        self._lies = lies
        self._attempts: Counter[Question] = Counter()
        self.changed()

    def changed(self) -> None:
        """Note that the model is not what it was."""
        self.world = self.model.emulated(self._faults)
        self._answers = Answers(self.world)

    async def call(self, question: Question, client: ApiClient) -> tuple[Answer, Said]:
        """Answer one call, sooner or later; raises NetworkFailure."""
        self._attempts[question] += 1
        fault = self._fault(question)
        delay = self._rng.uniform(0.005, 0.2) + (fault.latency_ms or 0.0 if fault else 0.0) / 1000
        await asyncio.sleep(delay)
        if fault is not None and fault.effect == "hang":
            await asyncio.get_running_loop().create_future()
        if fault is not None and fault.effect in ("drop", "cut"):
            raise NetworkFailure(f"the connection was closed ({fault.effect})")
        status, body, lie = self._written(question, fault)
        at = client.timing.clock()
        answer = Answer(
            status=status,
            body=body,
            body_hash=hashlib.blake2b(body, digest_size=16).digest(),
            request_uuid=f"uuid-{at:%d-%H%M%S-%f}-{question.project}-{question.zone}",
            retry_after_seconds=float(fault.retry_after) if fault and fault.retry_after else None,
            received_at=at,
        )
        return answer, self.understood(question, answer, lie)

    def understood(self, question: Question, answer: Answer, lie: Lie | None = None) -> Said:
        """Return what an answer means, straight from the list of RetCodes in the contract."""
        at = answer.received_at
        meaning, document = meaning_of(answer.status, answer.body)
        if meaning != "good":
            return Said(question=question, at=at, meaning=meaning)
        if question.action != "DescribeUK8SImage":
            rows = document.get("regions") or document.get("projectset") or ()
            return Said(question=question, at=at, meaning="good", rows=tuple(rows))
        spot = Spot(question.project or "default", question.region, question.zone)
        said = self.said_about(spot, lie)
        return replace(said, question=question, at=at, body=answer.body, request_uuid=answer.request_uuid)

    def said_about(self, spot: Spot, lie: Lie | None) -> Said:
        """Return what an answer about *spot* means at this moment, be it true or a lie."""
        truth = self.model.offers(spot.project, spot.zone)
        heard = lie.heard(self.model) if lie else heard_of(self.model, truth)
        return Said(
            question=Question("DescribeUK8SImage", *spot),
            at=datetime.min.replace(tzinfo=UTC),
            meaning="good",
            heard=heard,
            listed=self.model.states(heard.listed),
            offered=frozenset(truth),
        )

    def lie_about(self, question: Question) -> Lie | None:
        """Return the lie that all answers to *question* tell."""
        fault = self._fault(question)
        return self._lies.get(id(fault)) if fault else None

    def _fault(self, question: Question) -> Fault | None:
        attempt = self._attempts[question]
        for fault in self._faults:
            if (not fault.attempts or attempt in fault.attempts) and fault.hits(
                account="",
                action=question.action,
                project=question.project,
                params={"Region": question.region, "Zone": question.zone},
            ):
                return fault
        return None

    def _written(self, question: Question, fault: Fault | None) -> tuple[int, bytes, Lie | None]:
        """Return status and body as the emulator's server would write them, and the lie that the body is."""
        effect = fault.effect if fault else "delay"
        params = {"Region": question.region, "Zone": question.zone, "ProjectId": question.project}
        if fault is None or effect == "delay":
            try:
                return 200, self._answers.body(question.action, _ACCOUNT, params), None
            except RefusedRequest as refusal:
                return 200, refusal_body(question.action, refusal.ret_code, refusal.message), None
        if effect == "ret_code":
            return fault.status or 200, refusal_body(question.action, fault.ret_code or 130, fault.message), None
        if effect == "images":
            lie = self._lies[id(fault)]
            return 200, self._answers.lie("DescribeUK8SImage", lie.sets(self.model), params), lie
        bodies = {"status": _PAGE, "html": _PAGE, "body": (fault.body or "").encode()}
        return fault.status or 200, bodies.get(effect, b""), None


def meaning_of(status: int, body: bytes) -> tuple[Meaning, dict[str, Any]]:
    """Return the class of an answer, and its document with every key in lower case."""
    try:
        document = {str(key).lower(): value for key, value in json.loads(body).items()}
        code = int(document["retcode"])
    except (ValueError, KeyError, AttributeError):
        document, code = {}, None
    if status == 429 or code == 153:
        return "throttled", {}
    if code is None:
        return ("transient" if status == 200 or status >= 500 else "defect"), {}
    if status >= 500 or code in (110, 130, 150) or code >= 2000:
        return "transient", {}
    if code in (230, 292, 293, 299):
        return "denied", {}
    if code in (170, 171, 172, 174, 294, 295):
        return "credential", {}
    return ("good", document) if code == 0 else ("defect", {})


@lru_cache(maxsize=4096)
def question_of(form: bytes) -> Question:
    """Read the question off a signed form."""
    params = dict(parse_qsl(form.decode(), keep_blank_values=True))
    get = params.get
    return Question(get("Action", ""), get("ProjectId", ""), get("Region", ""), get("Zone", ""))


class Witness(ApiClient):
    """A client that tells the log what every call brought; the call itself goes over the network."""

    cloud: Cloud

    def observed_by(self, cloud: Cloud) -> Self:
        """Note everything in the log of *cloud*."""
        self.cloud = cloud
        return self

    async def attempt(
        self,
        form: bytes,
        cancel_scope: CancelScope,
        *,
        is_retry: bool = False,
        room: Room | None = None,
        known_hash: bytes | None = None,
        secrets: Collection[str] | None = None,
    ) -> Answer:
        """Make the call and note what it brought; one that was cut brought nothing."""
        question = question_of(form)
        try:
            answer = await super().attempt(
                form, cancel_scope, is_retry=is_retry, room=room, known_hash=known_hash, secrets=secrets
            )
        except NetworkFailure:
            self.cloud.log.append(Said(question=question, at=self.timing.clock(), meaning="transient"))
            raise
        self.cloud.log.append(self._said(question, answer))
        return answer

    def _said(self, question: Question, answer: Answer) -> Said:
        return self.cloud.understood(question, answer, self.cloud.lie_about(question))


class ModelClient(Witness):
    """A client whose transport is the model."""

    def observed_by(self, cloud: Cloud) -> Self:
        """Ask *cloud*."""
        self._sent_answers: dict[int, Said] = {}
        return super().observed_by(cloud)

    async def __aenter__(self) -> Self:
        """Open nothing."""
        return self

    async def _post(self, form: bytes, room: Room, known_hash: bytes | None, secrets: Collection[str] | None) -> Answer:
        answer, said = await self.cloud.call(question_of(form), self)
        self._sent_answers[id(answer)] = said
        return answer

    def _said(self, question: Question, answer: Answer) -> Said:
        return self._sent_answers.pop(id(answer))
