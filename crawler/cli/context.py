"""
What every command gets: the global options, the clock, and the settings and history they lead to, loaded on demand.

The clock and the environment enter the program here and in `settings`, nowhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crawler.cli.language import tr
from crawler.cli.logs import LogFormat, log_line
from crawler.cli.output import held_back, soon
from crawler.domain.text import visible_lines
from crawler.errors import UnknownKnowledge, UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from crawler.config.models import Settings
    from crawler.db.engine import TimedFence


def utc_now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


@dataclass(slots=True, kw_only=True)
class CliContext:
    """The global options of one invocation, and what follows from them."""

    config_path: Path | None = None
    database: str | None = None
    #: -1 for each -q, +1 for each -v.
    verbosity: int = 0
    log_format: LogFormat = "text"
    clock: Callable[[], datetime] = utc_now
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _loaded: dict[bool, Settings] = field(default_factory=dict, repr=False)
    _is_clock_told: bool = field(default=False, repr=False)
    #: What the word `now` was read as.
    _read_as_now: set[datetime] = field(default_factory=set, repr=False)

    def settings(self, *, quiet: bool = False, is_thorough: bool = False) -> Settings:
        """
        Return all settings, for commands that crawl; raise ConfigurationError with every problem.

        With *is_thorough* files and folders that are named for later have to be there as well.
        """
        return self._load(need_accounts=True, quiet=quiet, is_thorough=is_thorough)

    def history_settings(self, *, quiet: bool = False) -> Settings:
        """Return what readers of the history need, even where the accounts' secrets are out of reach."""
        return self._loaded.get(True) or self._load(need_accounts=False, quiet=quiet)

    def _load(self, *, need_accounts: bool, quiet: bool = False, is_thorough: bool = False) -> Settings:
        if is_thorough or need_accounts not in self._loaded:
            from crawler.config.loader import load

            settings = load(
                self.config_path, self.database, self.environ, need_accounts=need_accounts, is_thorough=is_thorough
            )
            self._loaded[need_accounts] = settings
            for warning in () if quiet else settings.warnings:
                self.say(f"Warning: {warning}", level="warning")
        return self._loaded[need_accounts]

    def moment(self, text: str) -> datetime:
        """Read a time as people write it (ISO 8601, date, age); naive times are in the configured zone."""
        from crawler.domain.models import END_OF_TIME
        from crawler.domain.timefmt import parse_moment

        moment = parse_moment(text, now=self.clock(), zone=self.history_settings().timezone)
        if moment >= END_OF_TIME:
            raise UsageError(f"{text!r} is too far away to be a time")
        if text.strip().lower() == "now":
            self._read_as_now.add(moment)
        return moment

    @contextmanager
    def history(self) -> Iterator[Connection]:
        """
        Open the history for reading; what the block shows and says waits until it is closed again.

        On SQLite no run can write while somebody reads. Raises DatabaseUnavailable or SchemaMismatch where there is no
        history to read.
        """
        from crawler.db.engine import opened, read
        from crawler.db.migrations import ensure_schema

        database = self.history_settings().database
        with held_back(), opened(database, read_only=True) as engine:
            ensure_schema(engine, may_upgrade=False)
            with read(engine) as connection:
                yield connection

    def now(self, conn: Connection, *, is_strict: bool = False) -> datetime:
        """
        Return what counts as now for a question: the clock, or the latest moment recorded where that is later.

        A clock that is far behind is told; where a script goes by the answer (*is_strict*), UnknownKnowledge is raised,
        for nobody can tell then how old what is known is.
        """
        from crawler.db.last_observation import present, slow_clock

        clock = self.clock()
        now = present(conn, clock)
        complaint = slow_clock(clock, now, self.history_settings().timezone)
        if complaint and is_strict:
            raise UnknownKnowledge(complaint)
        if complaint and not self._is_clock_told:
            self.say(f"Warning: {complaint}", level="warning")
            self._is_clock_told = True
        return now

    def meant(self, conn: Connection, moment: datetime) -> datetime:
        """Return a *moment* that was read; of the word `now` what counts as now in the history, once it is open."""
        return self.now(conn) if moment in self._read_as_now else moment

    def clock_of(self, fence: TimedFence) -> tuple[Callable[[], datetime], timedelta]:
        """
        Return the clock for what is recorded, and by how much the machine's own is behind it.

        Hosts that share a PostgreSQL server write its time, or what one records would seem older than what another did
        before. A clock that was given is taken as it is.
        """
        if self.clock is not utc_now:
            return self.clock, timedelta(0)
        return lambda: utc_now() + fence.ahead, fence.ahead

    def say(self, message: str, *, level: str = "info", **fields: object) -> None:
        """Talk to the person on stderr; with -q only warnings and errors are heard, with -qq errors."""
        heard = {"error": True, "warning": self.verbosity > -2, "info": self.verbosity > -1}
        if not heard.get(level, True):
            return
        plain = visible_lines(tr(message))
        text = plain if self.log_format == "text" else log_line(level, message, at=self.clock(), **fields)
        soon(partial(click.echo, text, file=sys.stderr), is_talk=True)


pass_cli = click.make_pass_decorator(CliContext, ensure=True)
