"""
What the replies of one run say: each body is read once, zone numbers are learned, oddities are noted.

The Judge applies the pure rules of `crawler.domain` to a reply; the Recorder asks it, and does what it says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, delete, insert

from crawler.db.payloads import NewPayload
from crawler.db.runs import PlannedTarget
from crawler.db.schema import ZoneNumber
from crawler.db.target_state import Versions
from crawler.db.targets import forget_bodies_of, listing_elsewhere
from crawler.domain.diffing import compare
from crawler.domain.forms import AnswerForm, form_of
from crawler.domain.guard import GuardPolicy, judge
from crawler.domain.kinds import KINDS
from crawler.domain.models import ImageKey, KnownState, Recent, Reply, Snapshot, Target, Verdict, digest_of
from crawler.domain.objections import LastGood, Tolerable, objection
from crawler.domain.parsing import (
    MAX_COMPOSED_VALUES,
    MAX_VALUES,
    SetReader,
    members,
    parse,
    sets_read_before,
    weight_of,
)
from crawler.domain.rows import Notice
from crawler.domain.text import counted

#: Different notices of one run that are kept, and those that are counted.
MAX_NOTICES = 50
MAX_COUNTED = 1_000
#: Answers remembered as read: projects of a zone often get the same body, and more zones than this are nowhere.
ANSWERS_AT_ONCE = 128
#: Bytes that these answers may take, decoded.
BYTES_AT_ONCE = 12 * 2**20

ZoneNumbers = Mapping[int, Mapping[int, str]]
"""Numeric ZoneIds as `{account id: {number: zone}}`."""
CatalogNumbers = Mapping[int, Mapping[int, str | None]]
"""Those of the catalog in the same form, with None for one that it gives to several zones."""


class Judge:
    """Reads replies and decides what they mean, under one guard policy."""

    def __init__(
        self,
        policy: GuardPolicy,
        tolerated: Mapping[str, Collection[Tolerable]] | None = None,
        ignored: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """*tolerated* names the checks that are switched off, *ignored* the fields that are not read, by account."""
        self._policy = policy
        self._tolerated = tolerated or {}
        self._ignored = ignored or {}
        self._readers: dict[tuple[str, frozenset[str]], SetReader] = {}
        self._read_before = sets_read_before()

    def read(self, reply: Reply, zone_numbers: Mapping[int, str], catalog: Mapping[int, str | None], /) -> Snapshot:
        """Read what *reply* lists; *zone_numbers* are the known numeric ZoneIds, *catalog* those of the catalog now."""
        kind = KINDS[reply.target.kind]
        document = members(reply.body, MAX_COMPOSED_VALUES if kind.is_composed else MAX_VALUES)
        if document is None:
            raise ValueError(f"{reply.target}: the body of a good reply is a JSON object")
        which = kind.name, frozenset(self._ignored.get(reply.target.account, ()))
        if which not in self._readers:
            self._readers[which] = SetReader(kind, ignored=which[1], read_before=self._read_before)
        reader = self._readers[which]
        return parse(document, reader.kind, reply.target.zone, zone_numbers, reader, catalog=catalog)

    def objection(self, target: Target, snapshot: Snapshot, last: LastGood, /) -> str | None:
        """Say why *snapshot* is not to be believed at all, *last* being the answer before; None: it is."""
        return objection(target, KINDS[target.kind], snapshot, last, self._tolerated.get(target.account, ()))

    def form(self, target: Target, known: KnownState, snapshot: Snapshot, /) -> AnswerForm | None:
        """Return how the form of an answer differs from what is *known*; None where that cannot be said."""
        if known.is_new or not snapshot.images:
            return None
        ignored = self._ignored.get(target.account, ())
        return form_of(KINDS[target.kind], known.images, snapshot.images, ignored)

    def absent(self, known: KnownState, snapshot: Snapshot, /) -> frozenset[ImageKey]:
        """Return the *known* images that *snapshot* lacks."""
        return frozenset(compare(known, snapshot, uncompared=snapshot.uncompared).absent)

    def decide(self, known: KnownState, snapshot: Snapshot, /, *, observed_at: datetime, reasked: bool) -> Verdict:
        """Decide what *snapshot* means for a target whose history is *known*."""
        found = compare(known, snapshot, uncompared=snapshot.uncompared)
        return judge(found, known, snapshot, self._policy, observed_at=observed_at, reasked=reasked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What a body says, and the digest by which the next one is compared with it."""

    snapshot: Snapshot
    digest: str
    #: The bytes of memory that it takes, about.
    weight: int


class ReplyReader:
    """Reads the replies of one run."""

    def __init__(self, judge: Judge, *, confirmed: ZoneNumbers, catalog: CatalogNumbers) -> None:
        """*confirmed* are the zone numbers that answers have confirmed, *catalog* those of the catalog."""
        self.versions = Versions()
        self._judge = judge
        self._catalog = catalog
        # A number that the catalog now gives to another zone, too or alone, is not confirmed any more.
        self._confirmed = {
            account_id: {
                number: zone
                for number, zone in numbers.items()
                if catalog.get(account_id, {}).get(number, zone) == zone
            }
            for account_id, numbers in confirmed.items()
        }
        #: Zone numbers that are confirmed and not written yet: account, number, zone.
        self._learned: list[tuple[int, int, str]] = []
        #: The targets whose answers stated a number of another zone before it was confirmed, by account and number.
        self._stating: dict[tuple[int, int], set[int]] = {}
        #: The targets that were believed to list what is another zone's, as was learned and is not written yet.
        self._stated_elsewhere: set[int] = set()
        self._notices: dict[str, dict[Target, None]] = {}
        #: The targets whose answers were read and believed: of the others nothing new is known.
        self.read_targets: set[Target] = set()
        self._read_before: Recent[object, Understood] = Recent(at_once=ANSWERS_AT_ONCE, weight=BYTES_AT_ONCE)
        #: Answers of what is not written yet, by the hash of the body.
        self._packed: dict[bytes, NewPayload] = {}

    @property
    def notices(self) -> list[str]:
        """Return what was not understood, each sentence once, with how many targets said so."""
        lines = [notice.sentence for notice in self.noticed]
        if len(self._notices) > MAX_NOTICES:
            lines.append(f"and {counted(len(self._notices) - MAX_NOTICES, 'more kind')} of notices")
        return lines

    @property
    def noticed(self) -> list[Notice]:
        """Return the same with the targets that said so, by account."""
        return [
            Notice(account=account, sentence=_told(notice, own), key=notice, targets=frozenset(own))
            for notice, targets in islice(self._notices.items(), MAX_NOTICES)
            for account in dict.fromkeys(target.account for target in targets)
            for own in ([target for target in targets if target.account == account],)
        ]

    def read(self, planned: PlannedTarget, reply: Reply) -> Understood:
        """Read what *reply* says of its target."""
        understood = self._read(planned, reply)
        self._confirm_zone_number(planned, understood.snapshot)
        return understood

    def believe(self, target: Target, understood: Understood) -> None:
        """Take up the notices of the answer that counts: what an answer that is not believed says is no news."""
        self.read_targets.add(target)
        for notice in understood.snapshot.notices:
            self.note(target, notice)

    def note(self, target: Target, notice: str) -> None:
        """Take up what the run's notices tell of *target*."""
        if notice in self._notices or len(self._notices) < MAX_COUNTED:
            self._notices.setdefault(notice, {})[target] = None

    def evidence(self, reply: Reply) -> NewPayload:
        """
        Return a reply as it is kept; projects of a zone often got the same body, which is packed once.

        By what request it came is told of each.
        """
        packed = self._packed.get(reply.body_hash)
        if packed is None:
            packed = self._packed[reply.body_hash] = NewPayload.of(reply)
        return replace(packed, request_uuid=reply.request_uuid, received_at=reply.received_at)

    def find_elsewhere(self, conn: Connection) -> None:
        """Find the targets that list images of zone numbers which were learned, before more is written."""
        for learned in self._learned:
            self._stated_elsewhere |= listing_elsewhere(conn, *learned)

    def write(self, conn: Connection) -> None:
        """Write the zone numbers that were learned, and have answers that state them elsewhere read again."""
        if not self._learned:
            return
        for account_id, number, _ in self._learned:
            # One that belonged to another zone once, and that the catalog has moved.
            conn.execute(delete(ZoneNumber).where(ZoneNumber.account_id == account_id, ZoneNumber.number == number))
        rows: list[dict[str, Any]] = [
            {"account_id": account_id, "number": number, "zone": zone} for account_id, number, zone in self._learned
        ]
        conn.execute(insert(ZoneNumber), rows)
        for account_id, number, _ in self._learned:
            self._stated_elsewhere |= self._stating.pop((account_id, number), set())
        forget_bodies_of(conn, self._stated_elsewhere)

    def written(self) -> None:
        """Let go of what is in the database now."""
        self._learned.clear()
        self._stated_elsewhere.clear()
        self._packed.clear()

    def _read(self, planned: PlannedTarget, reply: Reply) -> Understood:
        """Read a reply, once for all targets of a zone that got the same body."""
        numbers = self._confirmed.get(planned.account_id, {})
        # Numbers are only ever added during a run, so their count says which were known.
        same = (reply.body_hash, planned.account_id, reply.target.zone, reply.target.kind, len(numbers))
        found = self._read_before.get(same)
        if found is None:
            snapshot = self._judge.read(reply, numbers, self._catalog.get(planned.account_id, {}))
            weight = weight_of(reply.body, len(snapshot.images))
            found = Understood(snapshot=snapshot, digest=self._digest(snapshot), weight=weight)
            self._read_before.put(same, found, found.weight)
        return found

    def _digest(self, snapshot: Snapshot) -> str:
        """
        Return the digest by which the next answer is compared: what the snapshot lists, and what was not understood.

        Order, duplicates and key case do not count. A new oddity does: it makes a different answer, is looked at and
        kept as evidence once, and no more after that.
        """
        listed = "".join(sorted(self.versions.digests(snapshot.images)))
        unread = [snapshot.unreadable, snapshot.excess or 0, *filter(None, [snapshot.rest])]
        return digest_of([listed, sorted(snapshot.foreign), sorted(snapshot.notices), *unread])

    def _confirm_zone_number(self, planned: PlannedTarget, snapshot: Snapshot) -> None:
        """Learn a numeric ZoneId: the catalog gives it to this zone alone, and all records of this answer agree."""
        number, zone = snapshot.zone_number, planned.target.zone
        numbers = self._confirmed.setdefault(planned.account_id, {})
        if number is None or number in numbers:
            return
        owner = self._catalog.get(planned.account_id, {}).get(number)
        if owner == zone:
            numbers[number] = zone
            self._learned.append((planned.account_id, number, zone))
        elif owner is not None:
            self._stating.setdefault((planned.account_id, number), set()).add(planned.target_id)


def _told(notice: str, targets: Sequence[Target]) -> str:
    more = f" (and {counted(len(targets) - 1, 'more target')})" if len(targets) > 1 else ""
    return f"{targets[0]}: {notice}{more}"
