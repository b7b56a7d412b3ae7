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

#: zlib's level: answers repeat themselves so much that a higher one saves a twentieth and takes three times as long.
PACKING = 3


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
        """Return *reply*, which this is the evidence of, with its body."""
        return replace(reply, body=zlib.decompress(self.body))


def store_payloads(conn: Connection, answers: Iterable[NewPayload]) -> dict[bytes, int]:
    """Keep *answers* and give their ids by the hash of the body; an equal body is kept once."""
    by_hash = {answer.digest: answer for answer in answers}
    ids = _payload_ids(conn, by_hash)
    missing = sorted(by_hash.keys() - ids.keys())
    insert_missing(conn, Payload, [asdict(by_hash[digest]) for digest in missing])
    return ids | _payload_ids(conn, missing)


def load_answer(conn: Connection, payload_id: int | None) -> KeptAnswer | None:
    """Return a raw answer that was kept, by its id; None where none was."""
    if payload_id is None:
        return None
    row = conn.execute(
        select(Payload.body, Payload.request_uuid, Payload.received_at).where(Payload.id == payload_id)
    ).one()
    return KeptAnswer(body=zlib.decompress(row.body), request_uuid=row.request_uuid, received_at=row.received_at)


def _payload_ids(conn: Connection, digests: Iterable[bytes]) -> dict[bytes, int]:
    ids: dict[bytes, int] = {}
    for portion in portions(digests):
        rows = conn.execute(_ids_of(), {"digests": portion})
        ids.update((bytes(digest), payload_id) for digest, payload_id in rows)
    return ids


@cache
def _ids_of() -> Select[*tuple[Any, ...]]:
    return select(Payload.digest, Payload.id).where(among(Payload.digest, "digests"))
