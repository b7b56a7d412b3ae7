"""Every known pin, worst first: what stands where, what is wrong with it, and what a change of it does. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from crawler.domain.text import plain
from crawler.queries.check.rules import BAD, NOT_KNOWN, WORST_FIRST, CheckRow
from crawler.web.wording import Wording

#: Rows of the page.
MOST_PINS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedRow:
    """One id where somebody depends on it."""

    tone: Literal["bad", "warn", "good"]
    outcome: str
    zone: str
    image_id: str
    image_name: str
    successor: str
    effect: str
    place: str
    detail: str


def pinned_rows(rows: Iterable[CheckRow], words: Wording) -> list[PinnedRow]:
    """Return *rows* for the page, worst first."""
    ordered = sorted(
        rows, key=lambda row: (WORST_FIRST.index(row.outcome), row.zone or "", row.image_id or "", row.source)
    )
    return [
        PinnedRow(
            tone="bad" if row.outcome in BAD else "good" if row.outcome == "ok" else "warn",
            outcome=words(f"outcome_{row.outcome}"),
            zone=plain(row.zone or ""),
            image_id=plain(row.image_id or ""),
            image_name=row.image_name or "",
            successor=plain(row.successor or ""),
            effect=words(f"effect_{row.effect}") if row.effect else "",
            place=_place(row),
            detail="" if row.outcome == "ok" else plain(row.detail, 300),
        )
        for row in ordered[:MOST_PINS]
    ]


def counted(rows: Iterable[CheckRow]) -> tuple[int, int]:
    """Return how many of *rows* are bad, and how many are not known."""
    outcomes = [row.outcome for row in rows]
    return sum(outcome in BAD for outcome in outcomes), sum(outcome in NOT_KNOWN for outcome in outcomes)


def _place(row: CheckRow) -> str:
    if row.file:
        line = f":{row.line}" if row.line else ""
        return plain(f"{row.file}{line}", 200) + (f" {plain(row.address, 120)}" if row.address else "")
    return plain(row.cluster_name or row.source, 200)
