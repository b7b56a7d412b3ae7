"""
The locks of a run: all its accounts or none, never taken over from a living holder, never left behind by a dead one.

SQLite has one lock per database (`file.py`), PostgreSQL one per account (`postgresql.py`); the driver of the second
is loaded only where it is needed, so that a run that is too early leaves in no time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.db.locks import file
from crawler.db.url import parse_address
from crawler.errors import LockTaken

if TYPE_CHECKING:
    from crawler.db.engine import TimedFence

__all__ = ["first_to_tell", "take_locks"]


def take_locks(
    url_or_path: str | Path,
    accounts: Sequence[str] | None,
    *,
    clock: Callable[[], datetime],
    wait_seconds: float = 0,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
    is_sender: bool = False,
    is_trial: bool = False,
) -> AbstractContextManager[TimedFence]:
    """
    Hold the locks of *accounts* (None: of the whole database) for a `with` block, which gets the fence to write behind.

    *is_sender* adds the lock of those who send reports without a run, so that these are one at a time. With *is_trial*
    nothing will be written, so accounts are left as they are, and those that the history does not know are not made.

    Raises LockTaken with a sentence that says who still holds one of them after *wait_seconds*; then none is held.
    Raises DatabaseUnavailable where locks cannot be had at all, SchemaMismatch where PostgreSQL is not upgraded yet.
    """
    address = parse_address(url_or_path)
    if address.path is not None:
        return file.take_file_lock(
            address.path, clock=clock, wait_seconds=wait_seconds, sleep=sleep, monotonic=monotonic
        )
    from crawler.db.locks.postgresql import take_session_locks

    return take_session_locks(
        url_or_path,
        accounts,
        clock=clock,
        wait_seconds=wait_seconds,
        sleep=sleep,
        monotonic=monotonic,
        is_sender=is_sender,
        is_trial=is_trial,
    )


def first_to_tell(url_or_path: str | Path, taken: LockTaken) -> bool:
    """Return whether nobody complained yet of the holder that *taken* is about, and note that somebody did now."""
    address = parse_address(url_or_path)
    if address.path is not None:
        return file.first_to_tell(address.path)
    from crawler.db.locks import postgresql

    return postgresql.first_to_tell(url_or_path, taken)
