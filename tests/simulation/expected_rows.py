"""
How expected rows are told and compared: only the fields that the oracle knows, and matchers where the contract leaves
it open. Which targets and images a question selects is worked out here too, by the words of the contract (3.8).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from tests.simulation.expected_knowledge import Within
from tests.simulation.model import Spot
from tests.simulation.oracle import Oracle
from tests.simulation.past import Past, normalised

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Spelled:
    """Any spelling of a name."""

    key: str


@dataclass(frozen=True)
class Part:
    """An object of which only this is known."""

    fields: Mapping[str, Any]


def stamp(at: datetime | None) -> str | None:
    """Write a moment as the JSON of the readers does: UTC with `Z`, milliseconds where there are any."""
    if at is None:
        return None
    return f"{at.astimezone(UTC).isoformat(timespec='milliseconds' if at.microsecond else 'seconds')[:-6]}Z"


def place(spot: Spot) -> dict[str, str]:
    """Return the target as it is flattened into rows."""
    kind = {"kind": "uk8s-image", "variant": "default"}
    return {"account": "prod", "project": spot.project, "region": spot.region, "zone": spot.zone, **kind}


# --- comparing -------------------------------------------------------------------------------------------------------


def fits(expected: Any, got: Any) -> bool:
    """Return whether a field says what it has to."""
    match expected:
        case Within(first, last):
            return got is not None and _rounded(first) <= datetime.fromisoformat(got) <= last
        case Spelled(key):
            return got is not None and normalised(got) == key
        case datetime():
            return bool(stamp(expected) == got)
        case Part(fields):
            return isinstance(got, Mapping) and all(fits(value, got[name]) for name, value in fields.items())
        case Mapping():
            if not isinstance(got, Mapping) or expected.keys() != got.keys():
                return False
            return all(fits(value, got[name]) for name, value in expected.items())
    return bool(expected == got)


def _rounded(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def compare_rows(got: Iterable[Row], expected: Iterable[Row], identity: Sequence[str]) -> None:
    """Compare rows by their *identity*, each with each field that the oracle knows; whatever their order."""
    mine, theirs = _by_identity(got, identity), _by_identity(expected, identity)
    assert mine.keys() == theirs.keys(), (
        f"\n only the product: {sorted(mine.keys() - theirs.keys())}"
        f"\n only the oracle: {sorted(theirs.keys() - mine.keys())}"
    )
    for key, rows in theirs.items():
        assert len(rows) == len(mine[key]), f"{len(mine[key])} rows instead of {len(rows)}: {key}"
        for row, other in zip(rows, mine[key], strict=True):
            wrong = {name: (other.get(name), value) for name, value in row.items() if not fits(value, other.get(name))}
            assert not wrong, f"{key}: the product says, the oracle says: {wrong}\n{other}"


def _by_identity(rows: Iterable[Row], identity: Sequence[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        values = [row[name] for name in identity]
        key = json.dumps([stamp(value) if isinstance(value, datetime) else value for value in values])
        found.setdefault(key, []).append(row)
    return found


# --- selecting -------------------------------------------------------------------------------------------------------

Selection = Mapping[str, tuple[str, ...]]
"""Globs by part of a target or an image; what is not named selects everything."""


def name_fits(name: str, wanted: str) -> bool:
    """Return whether a name is the wanted one, case-blind and normalised, or fits it as a glob."""
    if normalised(name) and normalised(name) == normalised(wanted):
        return True
    return any(fnmatchcase(text, wanted.casefold()) for text in (name.casefold(), normalised(name)))


def pasts_of(oracle: Oracle, selection: Selection) -> dict[Spot, Past]:
    """Return the targets that a question is about."""
    return {
        spot: past
        for spot, past in sorted(oracle.pasts.items())
        if all(
            any(fnmatchcase(place(spot)[part], glob) for glob in globs)
            for part, globs in selection.items()
            if part in place(spot)
        )
    }


def wants_image(selection: Selection, image_set: str | None, image_id: str | None, names: Iterable[str | None]) -> bool:
    """Return whether a question is about an image with any of *names*; a target as such fits no filter of images."""
    known = list(names)
    checks: list[tuple[str, Callable[[str], bool]]] = [
        ("image_set", lambda glob: image_set is not None and fnmatchcase(image_set, glob)),
        ("image_id", lambda glob: image_id is not None and fnmatchcase(image_id, glob)),
        ("name", lambda glob: any(name is not None and name_fits(name, glob) for name in known)),
    ]
    return all(any(map(check, selection[part])) for part, check in checks if part in selection)
