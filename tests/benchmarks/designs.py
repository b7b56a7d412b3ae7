"""
The two histories that one would write first, as somebody who knows SQLite writes them: plain sqlite3, one transaction.

`Snapshots` appends everything that was seen, run by run: every question is answered, at a price per run. `LastSeen`
keeps a row per image and moves its `last_seen`: cheap to keep, but a look that failed and an image that is gone are the
same to it, and what an image was like before is lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.load_server import Offer

#: (target, set, image id, image name, supports GPU, OS, size in GB)
Sighting = tuple[int, str, str, str, bool, str, int]


def sightings(offer: Offer) -> list[Sighting]:
    """Return what one run sees, read already: the JSON costs every design the same."""
    places = [(project, zone) for _, zone in offer.places() for project in offer.project_ids()]
    return [
        (number, image_set, row["ImageId"], row["ImageName"], not row["NotSupportGPU"], row["OsName"], row["ImageSize"])
        for number, (project, zone) in enumerate(places)
        for image_set, rows in offer.sets(project, zone).items()
        for row in rows
    ]


class _Design:
    """A database of its own; each run is one transaction."""

    SCHEMA = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.conn = sqlite3.connect(path, isolation_level=None)
        self.conn.executescript(self.SCHEMA)

    def run(self, at: int, seen: Sequence[Sighting]) -> int:
        """Record what was seen, and give the rows written."""
        before = self.conn.total_changes
        self.conn.execute("BEGIN IMMEDIATE")
        self._record(at, seen)
        self.conn.execute("COMMIT")
        return self.conn.total_changes - before

    def _record(self, at: int, seen: Sequence[Sighting]) -> None:
        raise NotImplementedError


class Snapshots(_Design):
    """One row per image, target and run."""

    SCHEMA = """
        CREATE TABLE runs (id INTEGER PRIMARY KEY, at INTEGER NOT NULL);
        CREATE INDEX runs_at ON runs (at);
        CREATE TABLE sightings (
            run_id INTEGER NOT NULL REFERENCES runs (id), target_id INTEGER NOT NULL, image_set TEXT NOT NULL,
            image_id TEXT NOT NULL, image_name TEXT NOT NULL, gpu INTEGER NOT NULL, os_name TEXT NOT NULL,
            size_gb INTEGER NOT NULL, PRIMARY KEY (run_id, target_id, image_set, image_id)
        ) WITHOUT ROWID;
    """

    def _record(self, at: int, seen: Sequence[Sighting]) -> None:
        run_id = self.conn.execute("INSERT INTO runs (at) VALUES (?)", (at,)).lastrowid
        rows = ((run_id, *row) for row in seen)
        self.conn.executemany("INSERT INTO sightings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def as_of(self, at: int, target: int) -> list[Any]:
        """Return what a target listed at a moment."""
        query = """
            SELECT * FROM sightings
            WHERE run_id = (SELECT id FROM runs WHERE at <= ? ORDER BY at DESC LIMIT 1) AND target_id = ?
        """
        return self.conn.execute(query, (at, target)).fetchall()


class LastSeen(_Design):
    """One row per image and target, which says when it was last there."""

    SCHEMA = """
        CREATE TABLE images (
            target_id INTEGER NOT NULL, image_set TEXT NOT NULL, image_id TEXT NOT NULL, image_name TEXT NOT NULL,
            gpu INTEGER NOT NULL, os_name TEXT NOT NULL, size_gb INTEGER NOT NULL, first_seen INTEGER NOT NULL,
            last_seen INTEGER NOT NULL, PRIMARY KEY (target_id, image_set, image_id)
        ) WITHOUT ROWID;
    """

    def _record(self, at: int, seen: Sequence[Sighting]) -> None:
        statement = """
            INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET last_seen = excluded.last_seen
        """
        self.conn.executemany(statement, ((*row, at, at) for row in seen))
