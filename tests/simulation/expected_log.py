"""What `changes`, `history`, `status` and `runs` have to answer: the oracle's own lists, told as rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.simulation.expected_knowledge import (
    STALE_AFTER,
    Within,
    away_at,
    image_reason_at,
    key_of,
    last_good_at,
    name_of,
    outcome_since,
    seen_by,
    valid_at,
)
from tests.simulation.expected_rows import Part, Row, Selection, name_fits, pasts_of, place, wants_image
from tests.simulation.model import Spot
from tests.simulation.oracle import Oracle
from tests.simulation.past import Expected, Floor, Past, Ran, Span, normalised

#: What the oracle knows of: nothing of the form of answers.
EVENTS = ("appeared", "returned", "withdrawn", "modified", "target_added", "target_retired")


def _not_before(floor: Floor) -> Within | None:
    return Within(*floor) if floor else None


# --- changes ---------------------------------------------------------------------------------------------------------


def expected_changes(
    oracle: Oracle,
    selection: Selection,
    *,
    since: datetime | None,
    until: datetime | None,
    events: Collection[str],
) -> list[Row]:
    """Return what was recorded in `[since, until)`, oldest first."""
    spots = pasts_of(oracle, selection)
    wanted = [
        change
        for change in oracle.changes
        if change.spot in spots
        and change.recorded_at is not None
        and (since is None or since <= change.recorded_at)
        and (until is None or change.recorded_at < until)
        and (not events or change.event in events)
        and _is_wanted(selection, change)
    ]
    return [change_row(change) for change in wanted]


def _is_wanted(selection: Selection, change: Expected) -> bool:
    image_set, image_id = change.key or (None, None)
    return wants_image(selection, image_set, image_id, [change.name, *change.fields.get("image_name", ())])


def change_row(change: Expected) -> Row:
    """Return a row of the change log."""
    image_set, image_id = change.key or (None, None)
    return {
        **place(change.spot),
        "run": change.run,
        "event": change.event,
        "image_set": image_set,
        "image_id": image_id,
        "image_name": change.name,
        "fields": change.fields,
        "counterpart": change.counterpart,
        "not_before": _not_before(change.floor),
        "observed_at": change.observed_at,
        "recorded_at": change.recorded_at,
    }


# --- history ---------------------------------------------------------------------------------------------------------


def image_ids(oracle: Oracle, wanted: str) -> set[str]:
    """Return the ids that *wanted* means: itself, or those of a name, or of names and ids that fit a glob."""
    spans = [span for past in oracle.pasts.values() for span in past.spans]
    named = {span.key.image_id for span in spans if normalised(wanted) and key_of(span) == normalised(wanted)}
    globbed = {s.key.image_id for s in spans if name_fits(name_of(s), wanted) or name_fits(s.key.image_id, wanted)}
    return {span.key.image_id for span in spans if span.key.image_id == wanted} or named or globbed


def expected_history(oracle: Oracle, image: str, selection: Selection, *, now: datetime) -> list[Row]:
    """Return every interval of an image in every target."""
    ids = image_ids(oracle, image)
    return [
        _interval_row(oracle, spot, past, span, now)
        for spot, past in pasts_of(oracle, selection).items()
        for span in past.spans
        if span.key.image_id in ids and wants_image(selection, *span.key, [name_of(span)])
    ]


def _interval_row(oracle: Oracle, spot: Spot, past: Past, span: Span, now: datetime) -> Row:
    own = [change for change in oracle.changes if change.spot == spot and change.key == span.key]
    begun = [c for c in own if c.observed_at == span.valid_from and c.event in ("appeared", "returned", "modified")]
    ended = [c for c in own if c.observed_at == span.valid_to and c.event in ("withdrawn", "modified")]
    reason = image_reason_at(past, span.key, now) if span.valid_to is None else None
    assert len(begun) == (not span.is_baseline)
    assert len(ended) == (span.valid_to is not None)
    return {
        **place(spot),
        "image_set": span.key.image_set,
        "image_id": span.key.image_id,
        "image_name": name_of(span) or None,
        "valid_from": span.valid_from,
        "valid_to": span.valid_to,
        "not_before": _not_before(begun[0].floor) if begun else None,
        "reason": reason,
        "state": None if span.valid_to else "unknown" if reason else "present",
        "baseline": span.is_baseline,
        "present_since": span.since,
        "ended_by": ended[0].event if ended else None,
        "ended_not_before": _not_before(ended[0].floor) if ended else None,
        "replaces": begun[0].counterpart if begun else None,
        "replaced_by": ended[0].counterpart if ended else None,
        "fields": begun[0].fields if begun else {},
    }


def check_gaps(oracle: Oracle, rows: Collection[Row], now: datetime) -> Counter[str]:
    """
    Check that a gap of an interval is a time for which `images --at` says unknown, and for that reason.

    Between any two moments at which something happened nothing does, so one moment of each such span is looked at.
    What was unknown before the interval began was ended by the answer that began it.
    """
    reasons: Counter[str] = Counter()
    for row in rows:
        spot = Spot(row["project"], row["region"], row["zone"])
        past = oracle.pasts[spot]
        span = next(s for s in past.spans if [*s.key] == [row["image_set"], row["image_id"]] and _begins(s, row))
        gaps = [(gap["reason"], *(_read(gap[name]) for name in ("unknown_from", "unknown_to"))) for gap in row["gaps"]]
        before = None
        is_old = True
        for moment in _quiet_moments(past, now):
            why = image_reason_at(past, span.key, moment)
            if moment < span.valid_from:
                before = why
                continue
            if span.valid_to is not None and moment >= span.valid_to:
                break
            is_old = is_old and why == before
            told = [reason for reason, begin, end in gaps if begin and begin <= moment and (not end or moment < end)]
            # Nobody missed anything before the first run that looked had ended.
            expected = [why] if why and why != "never_observed" and not is_old else []
            assert told == expected, f"at {moment} {row['image_id']} at {spot} is {expected}, not {told}: {row}"
            reasons.update(told)
    return reasons


def _begins(span: Span, row: Row) -> bool:
    begun = _read(row["valid_from"])
    return begun is not None and begun <= span.valid_from and (span.valid_from - begun).total_seconds() < 0.001


def _read(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _quiet_moments(past: Past, now: datetime) -> Iterator[datetime]:
    """Return a moment between each two at which anything happened; those closer than milliseconds are one."""
    edges = {now}
    for seen in past.observations:
        edges |= {seen.ended_at, seen.ended_at + STALE_AFTER}
    for span in (*past.aways, *past.doubts, *past.spans):
        times = {name: getattr(span, name, None) for name in ("start", "end", "held_at", "ended_at", "valid_from")}
        edges |= {at for at in times.values() if at is not None}
    edges |= {span.valid_to for span in past.spans if span.valid_to is not None}
    ordered = sorted(edge for edge in edges if edge <= now)
    for first, last in pairwise(ordered):
        if (last - first).total_seconds() > 0.01:
            yield first + (last - first) / 2


# --- status ----------------------------------------------------------------------------------------------------------


def expected_status(oracle: Oracle, selection: Selection, *, now: datetime, include_retired: bool) -> list[Row]:
    """Return how each target's last observation went, since when, and how many images are open there."""
    return [
        _status_row(spot, past, now)
        for spot, past in pasts_of(oracle, selection).items()
        if include_retired or not away_at(past, now)
    ]


def _status_row(spot: Spot, past: Past, now: datetime) -> Row:
    away, seen = away_at(past, now), seen_by(past, now)
    outcome = away.reason if away else seen[-1].outcome if seen else None
    return {
        **place(spot),
        "outcome": outcome,
        "since": away.start if away else outcome_since(past, now),
        "last_ok_at": last_good_at(past, now),
        "images": len(valid_at(past, now)),
    }


# --- runs ------------------------------------------------------------------------------------------------------------


def expected_runs(oracle: Oracle, limit: int | None = None) -> list[Row]:
    """Return the runs, oldest first."""
    return [run_row(oracle, ran) for ran in oracle.runs[-limit if limit else 0 :]]


def run_row(oracle: Oracle, ran: Ran) -> Row:
    """Return a row of the ledger."""
    outcomes = Counter[str](ran.outcomes.values())
    events = Counter(change.event for change in oracle.changes if change.run == ran.number)
    row: dict[str, Any] = {
        "run": ran.number,
        "status": _run_status(ran, outcomes),
        "started_at": ran.started_at,
        "finished_at": ran.finished_at,
        "targets": {
            "total": ran.planned if ran.finished_at is None else len(ran.outcomes),
            **{name: outcomes[name] for name in ("ok", "held", "denied", "failed", "skipped")},
        },
        "baseline": {"targets": len(ran.baselines), "images": sum(ran.baselines.values())},
        "changes": {event: events[event] for event in EVENTS},
        "restricted": ran.is_restricted,
        "accounts": ["prod"],
    }
    if ran.calls is not None:
        row["requests"] = Part({"sent": len(ran.calls), "throttled": ran.calls.count("throttled")})
    return row


def _run_status(ran: Ran, outcomes: Counter[str]) -> str:
    if ran.died_at is not None:
        return "running" if ran.finished_at is None else "interrupted"
    if not outcomes["ok"] + outcomes["held"]:
        return "failed"
    return "incomplete" if outcomes["held"] + outcomes["failed"] + outcomes["skipped"] else "complete"


def expected_failures(ran: Ran) -> list[Row]:
    """Return the targets that a run lists as `failed` or `skipped`."""
    return [
        {"target": place(spot), "outcome": outcome}
        for spot, outcome in ran.outcomes.items()
        if outcome in ("failed", "skipped")
    ]
