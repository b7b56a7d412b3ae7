"""What is stored once and pointed to often: raw answers by the hash of their body, image versions by their digest."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from crawler.model import Attributes, ImageKey, Reply, digest_of, normalise_name
from crawler.store.statements import insert_missing, portions
from crawler.store.tables import ImageVersion, Payload


def version_digest(key: ImageKey, attributes: Attributes) -> str:
    """Give the digest by which a version is found again."""
    return digest_of([key.image_set, key.image_id, attributes])


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


def store_versions(conn: Connection, versions: Mapping[str, tuple[ImageKey, Attributes]]) -> dict[str, int]:
    """Keep image versions `{digest: (key, attributes)}` and give their ids by digest."""
    ids = _version_ids(conn, versions)
    missing = sorted(versions.keys() - ids.keys())
    insert_missing(conn, ImageVersion, [_version_row(digest, *versions[digest]) for digest in missing])
    return ids | _version_ids(conn, missing)


def _version_ids(conn: Connection, digests: Iterable[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for portion in portions(digests):
        rows = conn.execute(select(ImageVersion.digest, ImageVersion.id).where(ImageVersion.digest.in_(portion)))
        ids.update((digest, version_id) for digest, version_id in rows)
    return ids


def _version_row(digest: str, key: ImageKey, attributes: Attributes) -> dict[str, Any]:
    name = str(attributes.get("image_name") or "")
    gpu = attributes.get("gpu")
    return {
        "digest": digest,
        "image_set": key.image_set,
        "image_id": key.image_id,
        "image_name": name,
        "name_key": normalise_name(name),
        "gpu": gpu if isinstance(gpu, bool) else None,
        "attributes": dict(attributes),
    }
