"""The thinking of a run: parse, object, compare, judge. Pure; the store's Recorder calls it for each new answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from crawler.domain.diffing import compare
from crawler.domain.guard import GuardPolicy, judge
from crawler.domain.kinds import KINDS
from crawler.domain.models import Known, Reply, Snapshot, Target, Verdict
from crawler.domain.objections import LastGood, Tolerable, objection
from crawler.domain.parsing import SetReader, members, parse

_UNCOMPARED = frozenset(spec.name for kind in KINDS.values() for spec in kind.fields if not spec.compared)


class PureJudge:
    """Reads replies and decides what they mean, under one guard policy."""

    def __init__(self, policy: GuardPolicy, tolerated: Mapping[str, Collection[Tolerable]] | None = None) -> None:
        """*tolerated* names the checks that are switched off, by account."""
        self._policy = policy
        self._tolerated = tolerated or {}
        self._readers = {name: SetReader(kind) for name, kind in KINDS.items()}

    def read(self, reply: Reply, zone_numbers: Mapping[int, str], catalog: Mapping[int, str], /) -> Snapshot:
        """Read what *reply* lists; *zone_numbers* are the known numeric ZoneIds, *catalog* those of the catalog now."""
        document = members(reply.body)
        if document is None:
            raise ValueError(f"{reply.target}: the body of a good reply is a JSON object")
        reader = self._readers[reply.target.kind]
        return parse(document, reader.kind, reply.target.zone, zone_numbers, reader, catalog=catalog)

    def objection(self, target: Target, snapshot: Snapshot, last: LastGood, /) -> str | None:
        """Say why *snapshot* is not to be believed at all, *last* being the answer before; None: it is."""
        return objection(target, KINDS[target.kind], snapshot, last, self._tolerated.get(target.account, ()))

    def decide(self, known: Known, snapshot: Snapshot, /, *, observed_at: datetime, reasked: bool) -> Verdict:
        """Decide what *snapshot* means for a target whose history is *known*."""
        found = compare(known, snapshot, uncompared=_UNCOMPARED)
        return judge(found, known, snapshot, self._policy, observed_at=observed_at, reasked=reasked)
