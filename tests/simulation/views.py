"""The public view `current_images`, compared with the oracle: outsiders are told what the readers tell."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, text

from crawler.db.engine import read
from tests.simulation.expected_knowledge import image_reason_at, last_good_at, name_of, successor, valid_at
from tests.simulation.oracle import Oracle

_COLUMNS = "project, region, zone, image_set, image_id, image_name, gpu, superseded_by, reason"
_TIMES = "present_since_epoch, valid_from_epoch, observed_at_epoch"


def check_current_images(engine: Engine, oracle: Oracle, now: datetime) -> Counter[str]:
    """
    Compare every row of the view; give how often an image was superseded, or not.

    The view's present is the database server's, long after the simulation's: what is known is as good as stale.
    """
    with read(engine) as conn:
        rows = conn.execute(text(f"SELECT {_COLUMNS}, {_TIMES} FROM current_images")).all()
    mine = {(*map(_plain, row[:-4]), _known(row[-4]), *map(_instant, row[-3:])) for row in rows}
    theirs = set(_expected(oracle, now))
    assert len(rows) == len(mine), "a row came twice"
    assert mine == theirs, f"\n only the view: {sorted(map(str, mine - theirs))}\n only the oracle: {theirs - mine}"
    return Counter("superseded" if row.superseded_by else "newest" for row in rows)


def _expected(oracle: Oracle, now: datetime) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for spot, past in oracle.pasts.items():
        valid, good_at = valid_at(past, now), last_good_at(past, now)
        for span in valid:
            known = (name_of(span) or None, span.stated.get("gpu"), successor(span, valid))
            reason = _known(image_reason_at(past, span.key, now))
            rows.append((*spot, *span.key, *known, reason, span.since, span.valid_from, good_at))
    return rows


def _plain(value: Any) -> Any:
    """Return a truth value as such; SQLite has none."""
    return bool(value) if isinstance(value, int) else value


def _known(reason: str | None) -> str | None:
    return None if reason == "stale" else reason


def _instant(epoch: float | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
