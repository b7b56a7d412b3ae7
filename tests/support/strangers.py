"""Somebody who is no run and holds what keeps runs out."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


@contextmanager
def stranger(url: str, account: str = "prod") -> Iterator[None]:
    """Hold the lock of the database at *url*, or of an *account* on PostgreSQL, without a word for a `with` block."""
    if not url.startswith("sqlite"):
        with strange_session(url, account):
            yield
        return
    with Path(f"{url.removeprefix('sqlite:///')}.lock").open("a+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def strange_session(url: str, account: str = "prod") -> Iterator[int]:
    """Hold the lock of an *account* in a PostgreSQL session for a `with` block, and give the session's number."""
    digest = hashlib.blake2b(f"crawler account {account}".encode(), digest_size=8).digest()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [int.from_bytes(digest, "big", signed=True)])
        yield connection.info.backend_pid
