"""The nearest valid word to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


def nearest(word: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to *limit* of *known* that look like *word*, best first; case does not count."""
    folded: dict[str, list[str]] = {}
    for candidate in sorted(known):
        folded.setdefault(candidate.casefold(), []).append(candidate)
    found: list[str] = []
    for match in get_close_matches(word.casefold(), folded, n=limit):
        # Words that differ by case alone: the one written most alike comes first.
        found += sorted(folded[match], key=lambda candidate: -SequenceMatcher(None, word, candidate).ratio())
    return found[:limit]


def nearest_ids(word: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to *limit* of the ids *known* that look like *word* behind their kind: all `uimage-…` begin alike."""
    by_rest: dict[str, list[str]] = {}
    for candidate in sorted(known):
        by_rest.setdefault(_behind_kind(candidate), []).append(candidate)
    found = (candidate for rest in nearest(_behind_kind(word), by_rest, limit) for candidate in by_rest[rest])
    return list(found)[:limit]


def _behind_kind(image_id: str) -> str:
    kind, dash, rest = image_id.partition("-")
    return rest if dash else kind


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?`, or nothing when nothing is near."""
    found = nearest(word, known, limit=1)
    return f"; did you mean {found[0]}?" if found else ""
