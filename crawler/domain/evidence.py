"""
The two answers behind a change, side by side: which records differ, and in which fields.

The answers are read as they came, not through `parse`: evidence shows what the cloud said, in its own words. A bare id
is a record that says no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crawler.domain.kinds import KINDS, UK8S_IMAGE, Kind
from crawler.domain.models import UNSTATED_SET, Target, canonical_json, fold_keys, iso_utc
from crawler.domain.parsing import key_of
from crawler.domain.rows import ChangeRow, JsonRow, RunSummary

Record = Mapping[str, Any]
#: What stands for a field that a record does not have.
MISSING = "(not stated)"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """One raw answer that was kept."""

    body: bytes
    request_uuid: str
    #: When it came for the first time; an equal answer is kept once.
    received_at: datetime

    def document(self) -> Mapping[str, Any]:
        """Return what it says; empty when it is no JSON object."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, Mapping) else {}

    def lists(self, image_set: str, image_id: str, kind: Kind) -> bool:
        """Return whether it lists an image: in its set, however that is spelled, or where either states none."""
        sets = {own.casefold() for own, listed in _records(self.document(), kind) if listed == image_id}
        return not sets.isdisjoint((image_set.casefold(), UNSTATED_SET)) or (image_set == UNSTATED_SET and bool(sets))

    def text(self) -> str:
        """Return it for people: JSON in lines, anything else as it came."""
        document = self.document()
        return json.dumps(document, ensure_ascii=False, indent=2) if document else self.body.decode("utf-8", "replace")

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape of `before` and `after`."""
        return {
            "request_uuid": self.request_uuid or None,
            "received_at": iso_utc(self.received_at),
            "size": len(self.body),
            "document": self.document() or self.body.decode("utf-8", "replace"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPair(JsonRow):
    """One image's record in the two answers; None where an answer does not list it."""

    image_set: str
    image_id: str
    before: Record | None
    after: Record | None

    def fields(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield every field that either record states, with both values; those that differ come first."""
        before, after = self.before or {}, self.after or {}
        names = {name.casefold(): name for name in [*after, *before]}
        rows = [(name, _field(before, folded), _field(after, folded)) for folded, name in names.items()]
        yield from sorted(rows, key=lambda row: fold_keys(row[1]) == fold_keys(row[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A change, the two answers behind it, and the runs that got and wrote them."""

    change: ChangeRow
    #: None where an answer was not kept, or none is behind the change.
    before: KeptAnswer | None
    after: KeptAnswer | None
    #: The runs that saw it last as it was before, that got the answer which shows it, and that wrote it.
    seen_run: RunSummary | None
    observed_run: RunSummary | None
    written_run: RunSummary | None

    def records(self) -> list[RecordPair]:
        """Return every record in which the answers differ, those of the change first."""
        about = (self.change.image_id, self.change.counterpart)
        pairs = differing_records(self.before, self.after, kind_of(self.change.target))
        return sorted(pairs, key=lambda pair: about.index(pair.image_id) if pair.image_id in about else len(about))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape of `explain`."""
        return {
            "change": self.change.as_dict(),
            "runs": {
                "seen": _run(self.seen_run),
                "observed": _run(self.observed_run),
                "written": _run(self.written_run),
            },
            "records": [pair.as_dict() for pair in self.records()],
            "before": self.before and self.before.as_dict(),
            "after": self.after and self.after.as_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtedAnswer(JsonRow):
    """The last answer of a target that was not believed at all."""

    target: Target
    #: Why not.
    message: str
    since: datetime
    answer: KeptAnswer


def _run(run: RunSummary | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "run": run.run,
        "status": run.status,
        "started_at": iso_utc(run.started_at),
        "finished_at": iso_utc(run.finished_at),
    }


def kind_of(target: Target) -> Kind:
    """Return the kind whose answers a target gives."""
    return KINDS.get(target.kind, UK8S_IMAGE)


def differing_records(before: KeptAnswer | None, after: KeptAnswer | None, kind: Kind) -> list[RecordPair]:
    """Return the records in which the answers differ, by set and id; order and key case make no difference."""
    sides = [_records(answer.document(), kind) if answer else {} for answer in (before, after)]
    pairs = []
    for place in sorted(sides[0].keys() | sides[1].keys()):
        one, other = sides[0].get(place), sides[1].get(place)
        if fold_keys(one) != fold_keys(other):
            pairs.append(RecordPair(image_set=place[0], image_id=place[1], before=one, after=other))
    return pairs


def _records(document: Mapping[str, Any], kind: Kind) -> dict[tuple[str, str], Record]:
    """Return every record of an answer by set and id; a set is whatever holds records with ids."""
    canonical = {spelling.casefold(): name for name, others in kind.sets.items() for spelling in (name, *others)}
    found: dict[tuple[str, str], Record] = {}
    for key, value in document.items():
        image_set = canonical.get(str(key).casefold(), str(key))
        for element in value if isinstance(value, list) else [value]:
            is_bare = isinstance(element, str) and (image_set in kind.sets or _is_marked(image_set, kind))
            if not isinstance(element, Mapping) and not is_bare:
                continue
            if (place := key_of(kind, image_set, element)) is not None:
                found.setdefault(place, {kind.id_keys[0]: element} if is_bare else element)
    return found


def _is_marked(image_set: str, kind: Kind) -> bool:
    return bool(kind.set_marker) and kind.set_marker in image_set.casefold()


def _field(record: Record, folded: str) -> Any:
    return next((value for name, value in record.items() if str(name).casefold() == folded), MISSING)


def field_text(value: Any) -> str:
    """Write one field of a record for people."""
    return value if isinstance(value, str) else canonical_json(value)
