"""What is checked after every run, and the tally of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crawler.model import Target
from crawler.records import ChangeRow, RunSummary
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
    questions: int = 0
    rows: int = 0
    deaths: int = 0
    holds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    #: Of the readers: questions by reader, and what the answers said.
    readers: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add another seed's."""
        for name in ("runs", "true_changes", "waited_for_confirmation", "questions", "rows", "deaths"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("outcomes", "changes", "holds", "reasons", "readers"):
            getattr(self, name).update(getattr(other, name))


class Truth:
    """
    The promises in the plainest words, checked without the oracle.

    No image that was really there, at a target whose answer was bad, is ever withdrawn; what a true answer shows is in
    the history after that very run, and what it lacks is gone from it after two more answers that lack it.
    """

    def __init__(self, confirmations: int = 2) -> None:
        self._confirmations = confirmations
        self._believed: dict[Spot, set[Key]] = {}
        self._lacking: dict[tuple[Spot, Key], int] = {}

    def check(self, answers: Mapping[Spot, Sequence[Said]], recorded: Sequence[ChangeRow], tally: Tally) -> None:
        """Check one run: the *answers* of every target it got to, and what it *recorded*."""
        good = {
            spot: [answer for answer in said if answer.meaning == "good"][-1]
            for spot, said in answers.items()
            if any(answer.meaning == "good" for answer in said)
        }
        for row in recorded:
            if row.image_id is None or row.image_set is None:
                continue
            spot, key = spot_of(row.target), Key(row.image_set, row.image_id)
            assert spot in good, f"{row.event} of {key} at {spot}, which gave no good answer"
            if row.event == "withdrawn":
                assert key not in good[spot].offered, f"{key} was withdrawn at {spot}, and is still there"
                self._believed[spot].discard(key)
                tally.waited_for_confirmation += self._lacking.get((spot, key), 0) > 0
            elif row.event != "modified":
                self._believed[spot].add(key)
            tally.true_changes += 1
        for spot, said in good.items():
            believed = self._believed.setdefault(spot, set(said.listed))
            assert believed >= said.listed.keys(), f"{spot}: not recorded: {said.listed.keys() - believed}"
            if any((spot, key) in self._lacking for key in said.listed):
                # Something is back: what is still missing is judged afresh.
                self._lacking = {place: count for place, count in self._lacking.items() if place[0] != spot}
            for key in believed - said.listed.keys():
                count = self._lacking[spot, key] = self._lacking.get((spot, key), 0) + 1
                assert count <= self._confirmations, f"{key} has been missing at {spot} for {count} answers"


def spot_of(target: Target) -> Spot:
    """Give the place a target asks about."""
    return Spot(target.project, target.region, target.zone)


def by_spot(log: Sequence[Said]) -> dict[Spot, list[Said]]:
    """Give what was said about images, by target, in order."""
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
