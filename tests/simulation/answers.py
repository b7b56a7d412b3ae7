"""What the oracle answers when it is asked about a moment: plain scans over plain lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crawler.domain.rows import ImageRow
from tests.simulation.expected_knowledge import (
    away_at,
    held_since,
    last_good_at,
    reason_at,
    successor,
    valid_at,
)
from tests.simulation.model import Key, Spot
from tests.simulation.oracle import Oracle


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
    """Return what was available at *at*, as far as anybody can know."""
    rows: set[Row] = set()
    for spot in oracle.pasts if spots is None else spots:
        past = oracle.pasts[spot]
        away = away_at(past, at)
        if away and not include_retired:
            continue
        valid, reason, good_at = valid_at(past, at), reason_at(past, at, stale_after), last_good_at(past, at)
        for span in valid:
            why = "held" if not away and held_since(past, span.key, at) else reason
            rows.add(
                Row(
                    spot,
                    span.key,
                    "unknown" if why else "present",
                    why,
                    good_at,
                    span.valid_from,
                    span.is_baseline,
                    successor(span, valid),
                    _flat(span.stated),
                )
            )
    return rows


def _flat(stated: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in stated.items()))


def product_rows(rows: Iterable[ImageRow]) -> set[Row]:
    """Return the product's rows in the same form."""
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
