"""What is checked after every run, and the tally of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow, RunSummary
from tests.simulation.cloud import Said
from tests.simulation.model import Key, Spot
from tests.simulation.past import Expected, Outcome


@dataclass
class Tally:
    """What was checked."""

    runs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    true_changes: int = 0
    waited_for_confirmation: int = 0
    #: Withdrawals of images that are there, on the word of answers that nothing tells from true ones.
    deceived: int = 0
    questions: int = 0
    rows: int = 0
    deaths: int = 0
    holds: Counter[str] = field(default_factory=Counter)
    #: Answers that lied, by the way they did.
    lies: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    #: Of the readers: questions by reader, and what the answers said.
    readers: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add another seed's."""
        for name in ("runs", "true_changes", "waited_for_confirmation", "deceived", "questions", "rows", "deaths"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("outcomes", "changes", "holds", "lies", "reasons", "readers"):
            getattr(self, name).update(getattr(other, name))


class Truth:
    """
    The promises in the plainest words, checked without the oracle.

    An odd answer is as if there were none: nothing is recorded from it. An image that is really there is withdrawn only
    on the word of answers that nothing tells from true ones: never by a true one, an odd one or one understood in part,
    and where an answer lists nothing ever seen there, by the third such in a row. What a true answer shows is in the
    history after that very run; what it lacks is gone from it after two more answers that lack it and have no more
    unreadable records than the answer before the first of them.
    """

    def __init__(self, confirmations: int = 2) -> None:
        self._confirmations = confirmations
        self._believed: dict[Spot, set[Key]] = {}
        self._ever: dict[Spot, set[Key]] = {}
        #: How many answers in a row lacked an image, and how many unreadable records one may have to count.
        self._lacking: dict[tuple[Spot, Key], tuple[int, int]] = {}
        self._unreadable: dict[Spot, int] = {}

    def check(self, answers: Mapping[Spot, Sequence[Said]], recorded: Sequence[ChangeRow], tally: Tally) -> None:
        """Check one run: the *answers* of every target it got to, and what it *recorded*."""
        good = {spot: understood[-1] for spot, said in answers.items() if (understood := _understood(said))}
        for row in recorded:
            if row.image_id is None or row.image_set is None:
                continue
            spot, key = spot_of(row.target), Key(row.image_set, row.image_id)
            assert spot in good, f"{row.event} of {key} at {spot}, which gave no good answer"
            if row.event == "withdrawn":
                self._check_withdrawal(spot, key, good[spot], tally)
                self._believed[spot].discard(key)
                tally.waited_for_confirmation += self._lacking.pop((spot, key), (0, 0))[0] > 0
            elif row.event != "modified":
                self._believed[spot].add(key)
            tally.true_changes += 1
        for spot, said in good.items():
            if spot in self._believed or said.listed or not said.heard.unreadable:
                self._note(spot, said)

    def _check_withdrawal(self, spot: Spot, key: Key, said: Said, tally: Tally) -> None:
        assert key not in said.listed, f"{key} was withdrawn at {spot} by an answer that lists it"
        if key not in said.offered:
            return
        assert said.heard.mark == "plain", f"{key} was withdrawn at {spot}, and is still there"
        if not said.listed.keys() & self._ever[spot]:
            count = 1 + self._lacking.get((spot, key), (0, 0))[0]
            assert count > self._confirmations, f"{key} was withdrawn at {spot} by strange answer {count}"
        tally.deceived += 1

    def _note(self, spot: Spot, said: Said) -> None:
        believed = self._believed.setdefault(spot, set(said.listed))
        self._ever.setdefault(spot, set()).update(said.listed)
        unreadable = said.heard.unreadable
        before = self._unreadable.get(spot, unreadable)
        self._unreadable[spot] = unreadable
        assert believed >= said.listed.keys(), f"{spot}: not recorded: {said.listed.keys() - believed}"
        if any((spot, key) in self._lacking for key in said.listed):
            # Something is back: what is still missing is judged afresh, unless it may be what could not be read.
            self._lacking = {
                place: (0, limit) if place[0] == spot and unreadable <= limit else (count, limit)
                for place, (count, limit) in self._lacking.items()
                if place[0] != spot or place[1] not in said.listed
            }
        for key in believed - said.listed.keys():
            count, limit = self._lacking.get((spot, key), (0, before))
            self._lacking[spot, key] = count + (unreadable <= limit), limit
            assert count <= self._confirmations, f"{key} has been missing at {spot} for {count} answers"


def _understood(said: Sequence[Said]) -> list[Said]:
    return [answer for answer in said if answer.meaning == "good" and answer.heard.mark != "odd"]


def spot_of(target: Target) -> Spot:
    """Return the place a target asks about."""
    return Spot(target.project, target.region, target.zone)


def by_spot(log: Sequence[Said]) -> dict[Spot, list[Said]]:
    """Return what was said about images, by target, in order."""
    answers: dict[Spot, list[Said]] = {}
    for said in log:
        if said.question.action == "DescribeUK8SImage":
            spot = Spot(said.question.project or "default", said.question.region, said.question.zone)
            answers.setdefault(spot, []).append(said)
    return answers


def check_summary(summary: RunSummary, outcomes: Mapping[Spot, Outcome]) -> None:
    counted = {name: count for name, count in summary.targets.items() if count and name != "total"}
    told = {spot_of(row.target): row.outcome for row in summary.failures}
    expected = {spot: outcome for spot, outcome in outcomes.items() if outcome != "ok"}
    assert told == expected, f"told {told}, expected {expected}"
    assert counted == dict(Counter(outcomes.values())), f"counted {counted}, expected {outcomes}"
    assert summary.targets["total"] == len(outcomes)


Plain = tuple[Any, ...]


def plain(change: Expected) -> Plain:
    key = change.key or (None, None)
    fields = tuple(sorted((name, *map(str, pair)) for name, pair in change.fields.items()))
    return (change.spot, change.event, *key, change.name, change.observed_at, change.counterpart, fields)


def as_plain(row: ChangeRow) -> Plain:
    fields = tuple(sorted((name, *map(str, pair)) for name, pair in row.fields.items()))
    return (
        spot_of(row.target), row.event, row.image_set, row.image_id, row.image_name, row.observed_at, row.counterpart,
        fields,
    )  # fmt: skip
