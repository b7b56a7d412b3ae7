"""What the oracle answers when it is asked about a moment: plain scans over plain lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crawler.records import ImageRow
from tests.simulation.model import Key, Spot
from tests.simulation.oracle import Oracle, Past, Span, normalised


@dataclass(frozen=True)
class Row:
    """One image at one target as of a moment."""

    spot: Spot
    key: Key
    state: str
    reason: str | None
    observed_at: datetime | None
    valid_from: datetime
    baseline: bool
    superseded_by: str | None
    stated: tuple[tuple[str, Any], ...]


def oracle_rows(
    oracle: Oracle,
    at: datetime,
    *,
    stale_after: timedelta,
    include_retired: bool,
    spots: Iterable[Spot] | None = None,
) -> set[Row]:
    """Give what was available at *at*, as far as anybody can know."""
    rows: set[Row] = set()
    for spot in oracle.pasts if spots is None else spots:
        past = oracle.pasts[spot]
        away = next((a.reason for a in past.aways if a.start <= at and (a.end is None or at < a.end)), None)
        if away and not include_retired:
            continue
        valid = [s for s in past.spans if s.valid_from <= at and (s.valid_to is None or at < s.valid_to)]
        observed_at = max((end for end, outcome in past.observations if end <= at and outcome in _GOOD), default=None)
        reason = away or _reason(past, at, observed_at, stale_after)
        for span in valid:
            why = "held" if _is_held(past, span.key, at) and not away else reason
            rows.add(
                Row(
                    spot,
                    span.key,
                    "unknown" if why else "present",
                    why,
                    observed_at,
                    span.valid_from,
                    span.is_baseline,
                    _successor(span, valid),
                    _flat(span.stated),
                )
            )
    return rows


_GOOD = ("ok", "held")


def _reason(past: Past, at: datetime, observed_at: datetime | None, stale_after: timedelta) -> str | None:
    seen = [outcome for end, outcome in past.observations if end <= at]
    if seen and seen[-1] not in _GOOD:
        return seen[-1]
    if observed_at is None:
        return "never_observed"
    return "stale" if at - observed_at > stale_after else None


def _is_held(past: Past, key: Key, at: datetime) -> bool:
    return any(
        key in doubt.keys and doubt.held_at <= at and (doubt.ended_at is None or at < doubt.ended_at)
        for doubt in past.doubts
    )


def _successor(span: Span, valid: Iterable[Span]) -> str | None:
    """Give the newest of those that came later under the same name; None when several came together."""
    name = span.stated.get("image_name")
    if not name:
        return None
    later = [
        other
        for other in valid
        if other.key.image_set == span.key.image_set
        and normalised(str(other.stated.get("image_name", ""))) == normalised(str(name))
        and other.since > span.since
    ]
    newest = [other for other in later if other.since == max(one.since for one in later)]
    return newest[0].key.image_id if len(newest) == 1 else None


def _flat(stated: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in stated.items()))


def product_rows(rows: Iterable[ImageRow]) -> set[Row]:
    """Give the product's rows in the same form."""
    return {
        Row(
            Spot(row.target.project, row.target.region, row.target.zone),
            Key(row.image_set, row.image_id),
            row.state,
            row.reason,
            row.observed_at,
            row.valid_from,
            row.baseline,
            row.superseded_by,
            _flat(
                {name: value for name, value in row.attributes.items() if name != "extra"}
                | {f"extra.{name.lower()}": value for name, value in row.attributes.get("extra", {}).items()}
            ),
        )
        for row in rows
    }
