"""The thinking of a run in one line: parse, compare, judge. Pure; the store's Recorder calls it for each new answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from crawler.diff import compare
from crawler.documents import members
from crawler.guard import GuardPolicy, judge
from crawler.kinds import KINDS
from crawler.model import Known, Reply, Snapshot, Verdict
from crawler.parse import SetReader, parse

_UNCOMPARED = frozenset(spec.name for kind in KINDS.values() for spec in kind.fields if not spec.compared)


class PureJudge:
    """Reads replies and decides what they mean, under one guard policy."""

    def __init__(self, policy: GuardPolicy) -> None:
        self._policy = policy
        self._readers = {name: SetReader(kind) for name, kind in KINDS.items()}

    def read(self, reply: Reply, zone_numbers: Mapping[int, str], /) -> Snapshot:
        """Read the images *reply* lists; *zone_numbers* are the numeric ZoneIds whose zone is known."""
        document = members(reply.body)
        if document is None:
            raise ValueError(f"{reply.target}: the body of a good reply is a JSON object")
        reader = self._readers[reply.target.kind]
        return parse(document, reader.kind, reply.target.zone, zone_numbers, reader)

    def decide(self, known: Known, snapshot: Snapshot, /, *, observed_at: datetime, reasked: bool) -> Verdict:
        """Decide what *snapshot* means for a target whose history is *known*."""
        found = compare(known, snapshot, uncompared=_UNCOMPARED)
        return judge(found, known, snapshot, self._policy, observed_at=observed_at, reasked=reasked)
