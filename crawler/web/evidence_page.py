"""A change with the two answers behind it, field by field. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crawler.domain.evidence import MISSING, Explanation, KeptAnswer, RecordPair, field_text
from crawler.domain.models import SCHEMA
from crawler.domain.text import plain
from crawler.notifications.grouping import between
from crawler.web.wording import Wording

#: Records and fields that are shown.
MOST_RECORDS, MOST_FIELDS = 20, 60
_LONGEST = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable:
    """One record in the two answers."""

    title: str
    #: The field, before, after, and whether they differ.
    rows: Sequence[tuple[str, str, str, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePage:
    """What a change rests on."""

    number: int
    #: A word and what it says each.
    facts: Sequence[tuple[str, str]]
    records: Sequence[RecordTable]
    #: Why there are none.
    nothing: str


def evidence(found: Explanation, words: Wording) -> EvidencePage:
    """Return the evidence for a change in words."""
    change = found.change
    name = plain(change.image_name or "")
    facts = [
        (words("event"), change.event + (f" → {plain(change.counterpart)}" if change.counterpart else "")),
        (words("image"), " ".join(part for part in (plain(change.image_id or ""), name) if part)),
        (words("evidence_target"), plain(str(change.target), 300)),
        (words("evidence_when"), words.dates.between(between([change]))),
        (words("evidence_before"), _answer(found.before, words)),
        (words("evidence_after"), _answer(found.after, words)),
    ]
    return EvidencePage(
        number=change.id,
        facts=[(word, said) for word, said in facts if said],
        records=[_record(pair, words) for pair in found.records()[:MOST_RECORDS]],
        nothing=words(_nothing(found)),
    )


def _nothing(found: Explanation) -> str:
    """Return the phrase for why no records stand side by side, as `explain` says it."""
    if found.change.event == SCHEMA:
        return "evidence_schema"
    if found.change.image_id is None:
        return "evidence_catalog"
    return "evidence_pruned" if found.before is None and found.after is None else "evidence_same"


def _answer(answer: KeptAnswer | None, words: Wording) -> str:
    if answer is None:
        return words("evidence_none")
    request = f"{words('evidence_request')} {plain(answer.request_uuid)}, " if answer.request_uuid else ""
    return f"{request}{words.at(answer.received_at)}"


def _record(pair: RecordPair, words: Wording) -> RecordTable:
    rows = []
    for name, before, after in list(pair.fields())[:MOST_FIELDS]:
        one = words("not_listed") if pair.before is None else _text(before)
        other = words("not_listed") if pair.after is None else _text(after)
        rows.append((plain(name), one, other, one != other))
    return RecordTable(title=f"{plain(pair.image_set)} {plain(pair.image_id)}", rows=rows)


def _text(value: object) -> str:
    return MISSING if value is MISSING else plain(field_text(value), _LONGEST)
