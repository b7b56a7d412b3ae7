"""
What a run says: under cron what begins, changes or ends, once; to a person who watches, all of it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Literal

from crawler.domain.models import Target
from crawler.domain.rows import FailureRow, RunSummary
from crawler.domain.text import counted
from crawler.domain.timefmt import zone_name

#: Conditions named one by one; the rest are counted.
NAMED = 12
#: Regions of one condition that are named; the rest are counted.
REGIONS = 8
#: A condition that spread to so many times as many targets is reported again.
SPREAD = 2
_UNSTEADY = re.compile(r"\[[^\]]*\]|\d+")

Key = tuple[str, ...]
"""What makes two runs' findings one condition: the account (empty: none), its sort, and what sets it apart."""

Sort = Literal["trouble", "notice", "event", "warning", "way", "report", "error", "lock"]
"""The second part of a key. An `event` has no end worth a word; the others have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingTarget(FailureRow):
    """One target whose outcome in a run was neither `ok` nor a quiet `denied`, and since when."""

    since: datetime

    @property
    def is_about_target(self) -> bool:
        """Return whether the target itself was asked and answered, or did not answer."""
        return self.outcome != "skipped" and self.failure_class != "credential"

    @property
    def key(self) -> Key:
        """Return the condition that this is part of."""
        if self.failure_class in ("credential", "account_stopped"):
            return (self.target.account, "trouble", "", "refused")
        if self.failure_class == "transient" or (self.outcome, self.failure_class) == ("skipped", "circuit"):
            # A region in trouble says so now with one code, now with another, now not at all.
            return (self.target.account, "trouble", self.target.region, "transient")
        if self.outcome == "skipped":
            # Which targets are skipped at a deadline differs from run to run.
            return (self.target.account, "trouble", "", self.failure_class or "")
        return (self.target.account, "trouble", self.target.region, self.label)

    @property
    def label(self) -> str:
        """Return what it is called: `failed (defect, RetCode 160)`."""
        code = f", RetCode {self.ret_code}" if self.ret_code is not None else ""
        return f"{self.outcome}{f' ({self.failure_class}{code})' if self.failure_class else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Anything else that lasts and is reported once: what was noticed, warned of, or could not be delivered."""

    key: Key
    sentence: str
    #: Reported again when it grows to twice as much.
    size: int = 1
    #: The targets that said so; none where it is about no target.
    targets: frozenset[Target] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ongoing:
    """A condition that was reported and whose end was not."""

    key: Key
    since: datetime
    #: How large it was when it was last reported.
    size: int
    #: What it is called when it is over.
    label: str
    targets: frozenset[Target] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a run found."""

    troubles: Sequence[FailingTarget] = ()
    facts: Sequence[Fact] = ()
    #: Of the targets of standing conditions: those that the run asked, or that are asked no more …
    asked: Collection[Target] = ()
    #: … and those whose answers it read, which alone says something about notices.
    read: Collection[Target] = ()


Memory = Mapping[Key, Ongoing]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionNews:
    """What differs from what was reported before, a sentence each."""

    began: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    no_longer: tuple[str, ...] = ()
    #: How many conditions merely last.
    lasting: int = 0

    def __bool__(self) -> bool:
        """Return whether there is anything to say."""
        return bool(self.began or self.changed or self.ended or self.noted or self.no_longer)


def compare(before: Memory, found: Found, *, at: datetime) -> tuple[ConditionNews, Memory]:
    """Return what began, changed or ended, and what is to be remembered; *at* is the end of the run."""
    troubles = _Troubles({key: was for key, was in before.items() if key[1] == "trouble"}, found)
    facts = {key: was for key, was in before.items() if key[1] != "trouble"}
    noted, grown, gone, kept = _facts(facts, found, at)
    lasting = len(troubles.lasting) + len(kept.keys() & facts.keys()) - len(grown)
    news = ConditionNews(
        began=tuple(troubles.began()),
        changed=(*troubles.changed(), *grown),
        ended=tuple(troubles.ended(at)),
        noted=tuple(noted),
        no_longer=tuple(gone),
        lasting=lasting,
    )
    return news, troubles.remembered() | kept


class _Troubles:
    """The conditions of targets: what was reported of them beside what the run found."""

    def __init__(self, before: Memory, found: Found) -> None:
        self._before = before
        self._rows: dict[Key, list[FailingTarget]] = {}
        for row in found.troubles:
            self._rows.setdefault(row.key, []).append(row)
        for rows in self._rows.values():
            rows.sort(key=lambda row: (row.outcome == "skipped", row.target))
        asked = frozenset(found.asked)
        self._members = {key: frozenset(row.target for row in rows) for key, rows in self._rows.items()}
        for key, was in before.items():
            members = (was.targets - asked) | self._members.get(key, frozenset())
            if members:
                self._members[key] = members
        self._fresh = self._rows.keys() - before.keys()
        self._over = before.keys() - self._members.keys()
        self._spread = {
            key for key in self._rows.keys() & before.keys() if len(self._members[key]) >= SPREAD * before[key].size
        }
        self._in_trouble = frozenset().union(*self._members.values())
        #: What was reported of a target, where that is not so any more.
        self._left = {
            target: was
            for key, was in sorted(before.items())
            if key[2]
            for target in was.targets - self._members.get(key, frozenset())
        }

    @property
    def lasting(self) -> set[Key]:
        return set(self._members.keys() - self._fresh - self._spread)

    def began(self) -> list[str]:
        """Say what is new, the same in several regions at once in one sentence."""
        rows = [row for key in self._fresh for row in self._rows[key] if not self._turned(key)]
        return [_described(same) for same in _alike(rows)]

    def changed(self) -> list[str]:
        """Say what was something else before, or is larger by far."""
        sentences = []
        for key in sorted(self._fresh):
            if was := self._turned(key):
                sentences.append((f"(before: {was.label})", self._rows[key]))
        for key in sorted(self._spread):
            sentences.append((f"(before: {counted(self._before[key].size, 'target')})", self._rows[key]))
        for key in sorted(self._over):
            was = self._before[key]
            moved = self._moved(was) if key[2] else []
            if (
                moved
                and not was.targets - self._in_trouble
                and not any(row.key in self._fresh | self._spread for row in moved)
            ):
                sentences.append((f"(before: {was.label})", moved))
        merged: dict[tuple[str, str, str], list[FailingTarget]] = {}
        for before, rows in sentences:
            merged.setdefault((before, rows[0].target.account, _likeness(rows[0])), []).extend(rows)
        return [f"{_described(rows)} {before}" for (before, _, _), rows in merged.items()]

    def ended(self, at: datetime) -> list[str]:
        """Say what is over, of the targets that are in no trouble at all now."""
        merged: dict[tuple[str, bool, str], list[Target]] = {}
        for key in sorted(self._over):
            was, is_of_account = self._before[key], not key[2]
            well = was.targets if is_of_account else was.targets - self._in_trouble
            what = f"{was.label}, for {_span(was.since, at)}"
            merged.setdefault((key[0], is_of_account, what), []).extend(sorted(well))
        return [
            f"{_where(targets, is_of_account=is_of_account)}: {what}"
            for (_, is_of_account, what), targets in merged.items()
            if targets
        ]

    def remembered(self) -> dict[Key, Ongoing]:
        """Return what stands after the run."""
        kept: dict[Key, Ongoing] = {}
        for key, members in self._members.items():
            if key in self._fresh:
                rows = self._rows[key]
                since = min(row.since for row in rows)
                kept[key] = Ongoing(key=key, since=since, size=len(members), label=rows[0].label, targets=members)
            else:
                size = len(members) if key in self._spread else self._before[key].size
                kept[key] = replace(self._before[key], size=size, targets=members)
        return kept

    def _turned(self, key: Key) -> Ongoing | None:
        """Return what was reported before of targets of a fresh condition, where it is this instead now."""
        return next((self._left[row.target] for row in self._rows[key] if row.target in self._left), None)

    def _moved(self, was: Ongoing) -> list[FailingTarget]:
        return [row for rows in self._rows.values() for row in rows if row.target in was.targets]


def _facts(before: Memory, found: Found, at: datetime) -> tuple[list[str], list[str], list[str], dict[Key, Ongoing]]:
    """Return what is noted, what is reported again, what is no longer so, and what stands."""
    noted, grown, gone, kept = [], [], [], {}
    read = frozenset(found.read)
    for fact in found.facts:
        was = before.get(fact.key)
        if was is None:
            noted.append(fact.sentence)
            kept[fact.key] = Ongoing(key=fact.key, since=at, size=fact.size, label=fact.sentence, targets=fact.targets)
            continue
        size = was.size
        if fact.size >= SPREAD * was.size:
            grown.append(fact.sentence)
            size = fact.size
        kept[fact.key] = replace(was, size=size, targets=(was.targets - read) | fact.targets)
    for key, was in before.items():
        if key in kept:
            continue
        if left := was.targets - read:
            kept[key] = replace(was, targets=left)
        elif key[1] != "event":
            gone.append(was.label)
    return noted, grown, gone, kept


def paragraph(summary: RunSummary, news: ConditionNews, *, zone: tzinfo) -> str:
    """Write *news* of a run as a few lines; empty when there are none."""
    if not news:
        return ""
    counts = ", ".join(f"{count} {name}" for name, count in _counts(summary.targets).items())
    at = (summary.finished_at or summary.started_at).astimezone(zone)
    head = f"crawler run {summary.run} of {at:%d %b %H:%M} ({zone_name(zone)})"
    lines = [f"{head}, {summary.status}: {counts or 'nothing asked'}."]
    for word, sentences in (
        ("Began", news.began),
        ("Changed", news.changed),
        ("Over", news.ended),
        ("Noted", news.noted),
        ("No longer", news.no_longer),
    ):
        lines += [f"  {word}: {sentence}" for sentence in sentences[:NAMED]]
        if len(sentences) > NAMED:
            lines.append(f"  {word}: {len(sentences) - NAMED} more")
    if news.lasting:
        lines.append(f"  {counted(news.lasting, 'more lasts', 'more last')}; `crawler status` tells all.")
    return "\n".join(lines)


def steady(sentence: str) -> str:
    """Return a sentence without what differs each time: counts and request ids."""
    return _UNSTEADY.sub("#", sentence)


def _counts(targets: Mapping[str, int]) -> dict[str, int]:
    return {name: targets[name] for name in ("ok", "held", "denied", "failed", "skipped") if targets[name]}


def _alike(rows: Iterable[FailingTarget]) -> list[list[FailingTarget]]:
    """Return those together that go wrong in the same way in one account, in whatever region."""
    groups: dict[tuple[str, str], list[FailingTarget]] = {}
    for row in sorted(rows, key=lambda row: (row.outcome == "skipped", row.target)):
        groups.setdefault((row.target.account, _likeness(row)), []).append(row)
    return [groups[name] for name in sorted(groups)]


def _likeness(row: FailingTarget) -> str:
    """
    Return the same for what is one thing to a reader: the same code, or where there may be several the same words.
    """
    return f"transient {steady(row.message)}" if row.key[-1] == "transient" else row.key[-1]


def _described(rows: Sequence[FailingTarget]) -> str:
    first = rows[0]
    request = f" [{first.request_uuid}]" if first.request_uuid else ""
    where = _where([row.target for row in rows], is_of_account=not first.key[2])
    return f"{where} {first.outcome}: {first.message or first.failure_class or 'no reason given'}{request}"


def _where(targets: Sequence[Target], *, is_of_account: bool) -> str:
    """Name the account and how many of its *targets* there are, or the first and how many more."""
    if is_of_account:
        return f"{targets[0].account} ({counted(len(set(targets)), 'target')})"
    others = len(set(targets)) - 1
    regions = sorted({target.region for target in targets})
    named = f" in {', '.join(regions[:REGIONS])}" if len(regions) > 1 else ""
    unnamed = f" and {counted(len(regions) - REGIONS, 'more region')}" if len(regions) > REGIONS else ""
    return f"{targets[0]}{f' and {others} more' if others else ''}{named}{unnamed}"


def _span(since: datetime, at: datetime) -> str:
    minutes = max(1, round((at - since).total_seconds() / 60))
    hours, days = round(minutes / 60), round(minutes / 1440)
    return f"{minutes} min" if minutes < 120 else f"{hours} h" if hours < 48 else f"{days} days"


#: Reasons of failures that are named one by one; the rest are counted.
TOLD_FAILURES = 8


def as_text(summary: RunSummary) -> str:
    """Describe a run to a person: one line, then why targets failed, then what was noticed."""
    counts = summary.targets
    outcomes = ", ".join(
        f"{counts[name]} {name}" for name in ("ok", "held", "denied", "failed", "skipped") if counts[name]
    )
    news = ", ".join(f"{count} {event.replace('_', ' ')}" for event, count in summary.change_counts().items() if count)
    if summary.baseline["targets"]:
        images, at = counted(summary.baseline["images"], "image"), counted(summary.baseline["targets"], "target")
        baseline = f"baseline of {images} at {at}"
        news = f"{baseline}; {news}" if news else baseline
    seconds = (summary.finished_at - summary.started_at).total_seconds() if summary.finished_at else 0
    lines = [
        f"Run {summary.run} {summary.status} in {seconds:.0f} s: {outcomes or 'no targets'}; {news or 'no changes'}."
    ]
    lines += _grouped(
        (f"{failure.outcome}: {failure.message}", failure.target, failure.request_uuid)
        for failure in summary.failures
        if failure.outcome in ("failed", "skipped", "held")
    )
    lines += [f"  note: {notice}" for notice in summary.notices]
    return "\n".join(lines)


def _grouped(failures: Iterator[tuple[str, Target, str]]) -> list[str]:
    """Return a line for each reason, with the first target, its request's id and how many more targets there are."""
    by_reason: dict[str, list[tuple[Target, str]]] = {}
    for reason, target, request_uuid in failures:
        by_reason.setdefault(reason, []).append((target, request_uuid))
    lines = []
    for reason, asked in list(by_reason.items())[:TOLD_FAILURES]:
        (target, request_uuid), *others = asked
        more = f" and {len(others)} more" if others else ""
        request = f" [{request_uuid}]" if request_uuid else ""
        lines.append(f"  {target}{more}: {reason}{request}")
    if len(by_reason) > TOLD_FAILURES:
        lines.append(f"  and {counted(len(by_reason) - TOLD_FAILURES, 'more reason')}: crawler status")
    return lines
