"""One publication: what is known now, read in one moment, and written into a folder."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from crawler.db.backup import copy_to, new_copy
from crawler.db.copy import copy_history
from crawler.db.engine import address_of, opened, read
from crawler.db.last_observation import present
from crawler.db.migrations import schema_state
from crawler.errors import DatabaseUnavailable
from crawler.queries.check.rules import PinRule
from crawler.queries.publish_lookup import knowledge
from crawler.web.page_files import write_pages
from crawler.web.published_folder import Folder, folder
from crawler.web.site import Published, write_documents

#: The copy of the database, where there is one.
DATABASE_COPY = "v1/history.db"


def publish(
    engine: Engine,
    root: Path,
    *,
    now: datetime,
    stale_after: timedelta,
    url: str | None = None,
    zone: ZoneInfo | None = None,
    with_private: bool = False,
    with_copy: bool = False,
    pins: Callable[[], Sequence[PinRule]] = tuple,
) -> Published:
    """
    Publish what *engine* knows at *now* into the folder *root*, which will be served at *url*.

    Pages have times in *zone*, else in UTC; *pins* finds the pins that are known besides those of node groups.

    Without *with_private* nothing is left there that an earlier publication had of accounts, projects and custom
    images; what no publication made is left alone. Raises UsageError where the folder cannot be written, and before
    anything is where such a file is in the way; LockTaken when another publication does not end.
    """
    with folder(root) as into:
        _adopt_copy(into)
        if with_copy:
            into.claim(DATABASE_COPY)
        else:  # first, for it may be private
            into.remove(DATABASE_COPY)
        with read(engine) as conn:
            now = present(conn, now)
            known = knowledge(conn, now=now, stale_after=stale_after, with_private=with_private)
        done = write_documents(into, known, url=url.rstrip("/") if url else None)
        shown = zone or ZoneInfo("UTC")
        write_pages(
            into, engine, done, zone=shown, now=now, stale_after=stale_after, with_private=with_private, pins=pins
        )
        into.commit()
        if with_copy:
            done.files += 1
            done.written += _copy(engine, into)
        return done


def _adopt_copy(into: Folder) -> None:
    """Take a history in the place of the copy for one, also where a version that wrote no list made it."""
    copy = into.root / DATABASE_COPY
    if not copy.is_file() or copy.is_symlink():
        return
    with suppress(DatabaseUnavailable), opened(copy, read_only=True) as found:
        if schema_state(found).found is not None:
            into.adopt(DATABASE_COPY)


def _copy(engine: Engine, into: Folder) -> bool:
    """Make the copy of the database the present one; return whether it was not before."""
    original, part = address_of(engine).path, into.part
    into.tidy()
    if original is not None:
        copy_to(original, part)
    else:
        with new_copy(part, None) as file, opened(file or part) as writing:
            copy_history(engine, writing)
    wanted = into.root / DATABASE_COPY
    if wanted.is_file() and filecmp.cmp(part, wanted, shallow=False):
        return False
    part.replace(wanted)
    return True
