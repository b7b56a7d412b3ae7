"""The raw answers behind what was written: compressed, stored once, addressed by the hash of their body."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, select

from crawler.db.schema import Payload
from crawler.db.sql import among, insert_missing, portions
from crawler.domain.evidence import KeptAnswer
from crawler.domain.models import Reply
from crawler.errors import DatabaseUnavailable

#: zlib's level: answers repeat themselves so much that a higher one saves a twentieth and takes three times as long.
PACKING = 3
_REMEDY = "`crawler db check` tells what else is, `crawler db restore` puts a backup in its place."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayload:
    """A raw answer as it is kept, compressed from the start: many may wait for their transaction."""

    digest: bytes
    body: bytes
    size: int
    request_uuid: str
    received_at: datetime

    @classmethod
    def of(cls, reply: Reply) -> NewPayload:
        """Return the evidence of *reply*."""
        return cls(
            digest=reply.body_hash,
            body=zlib.compress(reply.body, PACKING),
            size=len(reply.body),
            request_uuid=reply.request_uuid,
            received_at=reply.received_at,
        )

    def unpacked(self, reply: Reply) -> Reply:
        """Return *reply*, which this is the evidence of, with its body; raises DatabaseUnavailable."""
        return replace(reply, body=_unpacked(self.body))


def store_payloads(conn: Connection, answers: Iterable[NewPayload]) -> dict[bytes, int]:
    """Keep *answers* and give their ids by the hash of the body; of equal bodies the first is kept."""
    by_hash: dict[bytes, NewPayload] = {}
    for answer in answers:
        by_hash.setdefault(answer.digest, answer)
    ids = _payload_ids(conn, by_hash)
    missing = sorted(by_hash.keys() - ids.keys())
    insert_missing(conn, Payload, [asdict(by_hash[digest]) for digest in missing])
    return ids | _payload_ids(conn, missing)


def load_answer(conn: Connection, payload_id: int | None) -> KeptAnswer | None:
    """Return a raw answer that was kept, by its id; None where none was. Raises DatabaseUnavailable."""
    if payload_id is None:
        return None
    kept = load_payload(conn, payload_id)
    return KeptAnswer(body=_unpacked(kept.body), request_uuid=kept.request_uuid, received_at=kept.received_at)


def load_payload(conn: Connection, payload_id: int) -> NewPayload:
    """Return an answer as it is kept, by its id; raise DatabaseUnavailable where it is not there."""
    columns = (Payload.digest, Payload.body, Payload.size, Payload.request_uuid, Payload.received_at)
    row = conn.execute(select(*columns).where(Payload.id == payload_id)).one_or_none()
    if row is None:
        raise DatabaseUnavailable(f"An answer that the database refers to ({payload_id}) is not there: {_REMEDY}")
    return NewPayload(
        digest=bytes(row.digest),
        body=bytes(row.body),
        size=row.size,
        request_uuid=row.request_uuid,
        received_at=row.received_at,
    )


def _unpacked(body: bytes) -> bytes:
    try:
        return zlib.decompress(body)
    except zlib.error as exc:
        raise DatabaseUnavailable(f"An answer that the database keeps is damaged ({exc}): {_REMEDY}") from exc


def _payload_ids(conn: Connection, digests: Iterable[bytes]) -> dict[bytes, int]:
    ids: dict[bytes, int] = {}
    for portion in portions(digests):
        rows = conn.execute(_ids_of(), {"digests": portion})
        ids.update((bytes(digest), payload_id) for digest, payload_id in rows)
    return ids


@cache
def _ids_of() -> Select[*tuple[Any, ...]]:
    return select(Payload.digest, Payload.id).where(among(Payload.digest, "digests"))
