"""What `explain` has to answer: the two answers as the cloud sent them, the records in which they differ, the runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from tests.simulation.cloud import Said
from tests.simulation.expected_log import change_row, run_row
from tests.simulation.expected_rows import Row, compare_rows, place, stamp
from tests.simulation.model import Key
from tests.simulation.oracle import Oracle
from tests.simulation.past import Expected, Ran

Record = Mapping[str, Any]
_SETS = ("ImageSet", "PHostImageSet", "CustomImageSet", "CustomPHostImageSet")
_SPELLINGS = {
    **{name.lower(): name for name in _SETS},
    "customiimageset": "CustomImageSet",
    "phostcustomiimageset": "CustomPHostImageSet",
}


def check_explanation(oracle: Oracle, told: Row) -> Iterator[str]:
    """Compare everything that `explain` *told*; yield what it was about."""
    change = _of(oracle, told["change"])
    before, after = _answers(oracle, change)
    runs = {
        "seen": _run(oracle, _under_way(oracle, before[-1].at) if before else None),
        "observed": _run(oracle, _under_way(oracle, after[0].at) if after else None),
        "written": _run(oracle, oracle.runs[change.run - 1]),
    }
    shown = [_shown(oracle, told[side], answers) for side, answers in (("before", before), ("after", after))]
    records = [_record_row(pair) for pair in _differing(*shown)]

    compare_rows([told["change"]], [change_row(change)], ("event",))
    compare_rows([{"runs": told["runs"]}], [{"runs": runs}], ())
    compare_rows(told["records"], records, ("image_set", "image_id"))
    own = [row["image_id"] for row in told["records"] if row["image_id"] in (change.key or ())]
    assert own == [row["image_id"] for row in told["records"][:1]], "the record of the change is not the first"
    yield change.event
    if change.key is not None:
        yield "waited on a hold" if runs["observed"] != runs["written"] else told["runs"]["written"]["status"]
        if change.floor and before[-1].at < change.floor[0]:
            yield "left out before"


def _of(oracle: Oracle, told: Row) -> Expected:
    """Return the change that the product speaks of."""
    (found,) = [
        change
        for change in oracle.changes
        if change.event == told["event"]
        and [*(change.key or (None, None))] == [told["image_set"], told["image_id"]]
        and all(told[part] == word for part, word in place(change.spot).items())
        and stamp(change.observed_at) == told["observed_at"]
    ]
    return found


def _under_way(oracle: Oracle, at: datetime) -> Ran:
    return [ran for ran in oracle.runs if ran.started_at <= at][-1]


def _run(oracle: Oracle, ran: Ran | None) -> Row | None:
    if ran is None:
        return None
    row = run_row(oracle, ran)
    return {name: row[name] for name in ("run", "status", "started_at", "finished_at")}


# --- answers ---------------------------------------------------------------------------------------------------------


def _answers(oracle: Oracle, change: Expected) -> tuple[list[Said], list[Said]]:
    """
    Return the answers that may be shown before, oldest first, and the one after; none where no answer is behind it.

    Before is the last good one, which for a withdrawal is the last that listed the image; or one of those before it
    that say the same in any shape, for such are kept once.
    """
    if change.key is None:
        return [], []
    heard = oracle.pasts[change.spot].answers
    earlier = [said for said in heard if said.at < change.observed_at]
    if change.event == "withdrawn":
        while change.key not in earlier[-1].listed:
            del earlier[-1]
    last = earlier[-1]
    same = takewhile(lambda said: _says(said) == _says(last), reversed(earlier))
    return [*same][::-1], [said for said in heard if said.at == change.observed_at]


def _says(said: Said) -> tuple[Any, ...]:
    """Return what makes an answer another one; that no number of images is stated does not, beside one that fits."""
    return said.listed, said.heard.unreadable, said.heard.excess or 0


def _shown(oracle: Oracle, told: Row | None, answers: Sequence[Said]) -> Said | None:
    """Return the answer that is told, which has to be one of *answers* as it came for the first time, anywhere."""
    if not answers:
        assert told is None, f"no answer is behind the change, but {told}"
        return None
    assert told is not None, f"nothing is told, instead of {answers}"
    bodies = [said.body for said in answers if len(said.body) == told["size"]]
    shown = next((body for body in bodies if json.loads(body) == told["document"]), None)
    assert shown is not None, f"another answer than {answers}: {told}"
    by = _under_way(oracle, answers[-1].at)
    first = [
        (said.request_uuid, stamp(said.at))
        for past in oracle.pasts.values()
        for said in past.every_answer
        if said.body == shown and _under_way(oracle, said.at).number <= by.number
    ]
    assert (told["request_uuid"], told["received_at"]) in first, f"not one of {first}: {told}"
    return next(said for said in answers if said.body == shown)


# --- records ---------------------------------------------------------------------------------------------------------


def records_of(said: Said) -> dict[Key, Record]:
    """Return what an answer lists, in its own words; a bare id is a record that says no more."""
    found: dict[Key, Record] = {}
    for name, records in json.loads(said.body).items():
        for record in records or () if name.lower() in _SPELLINGS else ():
            shown = {"ImageId": record} if isinstance(record, str) else record
            if not isinstance(shown, dict):
                continue
            ids = [value for field, value in shown.items() if field.lower() == "imageid" and value is not None]
            if ids and str(ids[0]).strip():  # a record without an id is none that anything is known of
                found.setdefault(Key(_SPELLINGS[name.lower()], ids[0]), shown)
    return found


def _differing(before: Said | None, after: Said | None) -> list[tuple[Key, Sequence[Record | None]]]:
    one, other = (records_of(said) if said else {} for said in (before, after))
    return [
        (key, (one.get(key), other.get(key)))
        for key in one.keys() | other.keys()
        if _plain(one.get(key)) != _plain(other.get(key))
    ]


def _plain(record: Record | None) -> Any:
    """Return a record without what does not count: the case of its keys, the order of its lists."""
    return record and {
        name.lower(): sorted(value) if isinstance(value, list) else value for name, value in record.items()
    }


def _record_row(pair: tuple[Key, Sequence[Record | None]]) -> Row:
    key, (before, after) = pair
    return {**key._asdict(), "before": before, "after": after}
