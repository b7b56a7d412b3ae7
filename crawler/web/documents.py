"""
The documents of `publish` as a server has them: those of one zone by themselves, the feeds of changes all together.

What says which image to use is asked often, and read of its zone alone. The feeds are read with all there is, once for
each run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import Connection

from crawler.db.filters import known_words
from crawler.domain.kinds import UK8S_IMAGE
from crawler.queries.publish_lookup import knowledge, known_freshness, zone_knowledge
from crawler.web.pages import NoSuchPage
from crawler.web.published_json import freshness_document, json_bytes
from crawler.web.site import FRESHNESS, descriptions, write_documents
from crawler.web.slugs import zone_part

#: Below which all documents are.
TOP = "v1/"
_OF_ZONES = ("resolve", "renovate")
_OF_ALL = ("v1/index.json", "v1/changes.json", "v1/atom/")
#: How long the feeds of a run count: changes may be written between runs, as when somebody accepts a hold.
KEPT_SECONDS = 300.0


class Stack:
    """A shelf in memory."""

    def __init__(self) -> None:
        """Begin without any document."""
        self.documents: dict[str, bytes] = {}

    def holds(self, path: str) -> bool:
        """Return whether there is a document at *path*."""
        return path in self.documents

    def write(self, path: str, body: bytes) -> bool:
        """Make the document at *path* say *body*; return whether it did not before."""
        is_new = self.documents.get(path) != body
        self.documents[path] = body
        return is_new

    def remove(self, path: str) -> bool:
        """Take the document at *path* away; return whether there was one."""
        return self.documents.pop(path, None) is not None

    def keep_only(self, under: str, kept: Collection[str]) -> None:
        """Take away each document below *under* whose path is not one of *kept*."""
        lost = [path for path in self.documents if path.startswith(f"{under}/") and path not in kept]
        for path in lost:
            del self.documents[path]


class Documents:
    """Makes the documents of one history."""

    def __init__(self, *, stale_after: timedelta, url: str | None) -> None:
        """Take the settings; pages and documents are served at *url*."""
        self._stale_after = stale_after
        self._url = url.rstrip("/") if url else None
        #: The feeds, with whether they are private; and of which run, when made.
        self._feeds: dict[bool, tuple[int, datetime, Mapping[str, bytes]]] = {}
        self._turn = Lock()

    @staticmethod
    def takes_long(path: str) -> bool:
        """Return whether all there is has to be read for the document at *path*."""
        return path.startswith(_OF_ALL)

    def body(self, conn: Connection, path: str, run: int, now: datetime, *, is_private: bool) -> bytes:
        """
        Return the document at *path*, read in *conn*, which is inside `read(engine)` and fresh; *run* is the newest.

        Raises NoSuchPage.
        """
        found = self._found(conn, path, run, now, is_private=is_private).get(path)
        if found is None:
            raise NoSuchPage("There is no such document.")
        return found

    def _found(self, conn: Connection, path: str, run: int, now: datetime, *, is_private: bool) -> Mapping[str, bytes]:
        parts = path.split("/")
        if self.takes_long(path):
            return self._all(conn, run, now, is_private=is_private)
        if path == FRESHNESS:
            known = known_freshness(conn, now=now, stale_after=self._stale_after, with_private=is_private)
            return {path: json_bytes(freshness_document(known).as_dict())}
        if len(parts) > 3 and parts[1] in _OF_ZONES:
            return self._zone(conn, parts[2], now, is_private=is_private)
        return dict(descriptions(self._url, is_private=is_private))

    def _zone(self, conn: Connection, part: str, now: datetime, *, is_private: bool) -> Mapping[str, bytes]:
        zone = next((one for one in known_words(conn, "zone", (UK8S_IMAGE.name,)) if zone_part(one) == part), None)
        if zone is None:
            return {}
        stack = Stack()
        known = zone_knowledge(conn, zone, now=now, stale_after=self._stale_after, with_private=is_private)
        write_documents(stack, known, url=self._url, is_live=True)
        return stack.documents

    def _all(self, conn: Connection, run: int, now: datetime, *, is_private: bool) -> Mapping[str, bytes]:
        with self._turn:
            kept = self._feeds.get(is_private)
            if kept and kept[0] == run and 0 <= (now - kept[1]).total_seconds() < KEPT_SECONDS:
                return kept[2]
            stack = Stack()
            known = knowledge(conn, now=now, stale_after=self._stale_after, with_private=is_private)
            write_documents(stack, known, url=self._url, is_live=True)
            found = {path: body for path, body in stack.documents.items() if self.takes_long(path)}
            self._feeds[is_private] = (run, now, found)
            return found
