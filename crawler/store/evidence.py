"""The raw answers behind what was written: compressed, stored once, addressed by the hash of their body."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from sqlalchemy import Connection, select

from crawler.model import Reply
from crawler.store.statements import insert_missing, portions
from crawler.store.tables import Payload


def store_payloads(conn: Connection, replies: Iterable[Reply]) -> dict[bytes, int]:
    """Keep the bodies of *replies* and give their ids by body hash; an equal body is kept once."""
    by_hash = {reply.body_hash: reply for reply in replies}
    ids = _payload_ids(conn, by_hash)
    missing = sorted(by_hash.keys() - ids.keys())
    insert_missing(
        conn,
        Payload,
        [
            {
                "digest": digest,
                "body": zlib.compress(by_hash[digest].body),
                "size": len(by_hash[digest].body),
                "request_uuid": by_hash[digest].request_uuid,
                "received_at": by_hash[digest].received_at,
            }
            for digest in missing
        ],
    )
    return ids | _payload_ids(conn, missing)


def _payload_ids(conn: Connection, digests: Iterable[bytes]) -> dict[bytes, int]:
    ids: dict[bytes, int] = {}
    for portion in portions(digests):
        rows = conn.execute(select(Payload.digest, Payload.id).where(Payload.digest.in_(portion)))
        ids.update((bytes(digest), payload_id) for digest, payload_id in rows)
    return ids
