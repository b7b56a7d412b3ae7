"""
Image versions: one state of an image's attributes, stored once and pointed to by every target that lists exactly it.

A version is found again by its digest. `Versions` remembers what a run has met, so that what many targets share is
hashed, looked up and decoded once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Text, select, type_coerce

from crawler.db.schema import ImageVersion
from crawler.db.sql import among, insert_missing, portions
from crawler.db.types import read_json
from crawler.domain.models import Attributes, ImageKey, Recent, digest_and_json, normalise_name
from crawler.domain.parsing import weight_of


class _Met(NamedTuple):
    attributes: Attributes
    digest: str


class Versions:
    """The versions that one run has met: those its answers state, and those the history holds."""

    def __init__(self, *, at_once: int = 16_384, bytes_at_once: int = 16 * 2**20) -> None:
        """*at_once*: how many of each are remembered; *bytes_at_once*: what each may take."""
        self._at_once = at_once
        self._bytes_at_once = bytes_at_once
        self._stored_bytes = 0
        #: The last attributes met of each image; zones have ids of their own, and projects of a zone agree.
        self._met: Recent[ImageKey, _Met] = Recent(at_once=at_once, weight=bytes_at_once)
        self._stored: dict[int, tuple[ImageKey, Attributes]] = {}

    def digest(self, key: ImageKey, attributes: Attributes) -> str:
        """Return the digest by which a version is found again; *attributes* must not be changed after that."""
        return self.digests({key: attributes})[0]

    def digests(self, images: Mapping[ImageKey, Attributes]) -> list[str]:
        """Return the digests of *images* in their order."""
        found: list[str] = []
        for key, attributes in images.items():
            met = self._met.get(key)
            if met is None or met.attributes is not attributes:
                digest, text = digest_and_json([key.image_set, key.image_id, attributes])
                met = _Met(attributes, digest)
                self._met.put(key, met, weight_of(text))
            found.append(met.digest)
        return found

    def load(
        self, conn: Connection, version_ids: Collection[int], *, bounded: bool = False
    ) -> Mapping[int, tuple[ImageKey, Attributes]]:
        """
        Return the key and the attributes of stored versions, and perhaps those of others.

        Raises OverflowError where they are *bounded* and take more memory than may be remembered.
        """
        missing = sorted({version_id for version_id in version_ids if version_id not in self._stored})
        if not missing:
            return self._stored
        if len(self._stored) + len(missing) > self._at_once or self._stored_bytes > self._bytes_at_once:
            missing = sorted(set(version_ids))
            self._stored = {}
            self._stored_bytes = 0
        for portion in portions(missing):
            if bounded and self._stored_bytes > self._bytes_at_once:
                raise OverflowError("what is known of these targets is too much at once")
            rows = conn.execute(_stored_as(), {"versions": portion})
            for version_id, image_set, image_id, digest, attributes in rows:
                key = ImageKey(image_set, image_id)
                self._stored_bytes += weight_of(attributes.encode())
                met = self._met.get(key)
                is_met = met is not None and met.digest == digest
                self._stored[version_id] = (key, met.attributes if met and is_met else read_json(attributes))
        return self._stored


def store_versions(conn: Connection, versions: Mapping[str, tuple[ImageKey, Attributes]]) -> dict[str, int]:
    """Keep image versions `{digest: (key, attributes)}` and give their ids by digest."""
    ids = _ids(conn, versions)
    missing = sorted(versions.keys() - ids.keys())
    insert_missing(conn, ImageVersion, [_row(digest, *versions[digest]) for digest in missing])
    return ids | _ids(conn, missing)


def _ids(conn: Connection, digests: Iterable[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for portion in portions(digests):
        rows = conn.execute(_ids_of(), {"digests": portion})
        ids.update((digest, version_id) for digest, version_id in rows)
    return ids


@cache
def _stored_as() -> Select[*tuple[Any, ...]]:
    columns = (ImageVersion.id, ImageVersion.image_set, ImageVersion.image_id, ImageVersion.digest)
    # as text: most are decoded already, in the answer that states them again
    attributes = type_coerce(ImageVersion.attributes, Text)
    return select(*columns, attributes).where(among(ImageVersion.id, "versions"))


@cache
def _ids_of() -> Select[*tuple[Any, ...]]:
    return select(ImageVersion.digest, ImageVersion.id).where(among(ImageVersion.digest, "digests"))


def _row(digest: str, key: ImageKey, attributes: Attributes) -> dict[str, Any]:
    name = str(attributes.get("image_name") or "")
    gpu = attributes.get("gpu")
    return {
        "digest": digest,
        "image_set": key.image_set,
        "image_id": key.image_id,
        "image_name": name,
        "name_key": normalise_name(name),
        "gpu": gpu if isinstance(gpu, bool) else None,
        "attributes": attributes,
    }
