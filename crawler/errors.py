"""
The error tree and the exit codes: every error that a person sees is one of these, with its sentence.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What the process returns to its caller; the same for every command."""

    DONE = 0
    NO = 1
    USAGE = 2
    INCOMPLETE = 3
    NOTHING_OBSERVED = 4
    CREDENTIALS = 5
    UNDELIVERED = 6
    AMBIGUOUS = 7
    UNKNOWN = 8
    INTERNAL = 70
    DATABASE = 74
    LOCKED = 75


#: One line per exit code, as `--help` and `docs/commands.md` print them.
EXIT_CODE_HELP: dict[ExitCode, str] = {
    ExitCode.DONE: "done (run: every target ok or denied, at least one ok)",
    ExitCode.NO: "a question answered no",
    ExitCode.USAGE: "wrong usage or configuration, or a selection that matches nothing",
    ExitCode.INCOMPLETE: "run incomplete: some target failed, skipped or held",
    ExitCode.NOTHING_OBSERVED: "run observed nothing",
    ExitCode.CREDENTIALS: "credentials refused for every account",
    ExitCode.UNDELIVERED: "run complete, but a report stays undeliverable",
    ExitCode.AMBIGUOUS: "ambiguous",
    ExitCode.UNKNOWN: "unknown or stale knowledge",
    ExitCode.INTERNAL: "internal error",
    ExitCode.DATABASE: "database unavailable",
    ExitCode.LOCKED: "another run holds the lock",
}


class CrawlerError(Exception):
    """Something went wrong inside crawler."""

    exit_code: ExitCode = ExitCode.INTERNAL
    #: It lasts, and was reported when it began: the exit code says enough.
    was_told: bool = False
    #: The database keeps that it was reported.
    is_kept: bool = False

    def __init__(self, message: str | None = None) -> None:
        """Take *message*, or the class's own docstring when there is none."""
        super().__init__(message or (self.__doc__ or "").strip())


class NoAnswer(CrawlerError):
    """What was asked for is not there."""

    exit_code = ExitCode.NO


class Revoked(NoAnswer):
    """Somebody revoked the image that is the answer."""


class UsageError(CrawlerError):
    """The command was called with words it does not know."""

    exit_code = ExitCode.USAGE


class ConfigurationError(UsageError):
    """The configuration has problems."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        """Take the *source* (a file's name or "environment") and one sentence per problem."""
        self.source = source
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problems" if len(self.problems) != 1 else "1 problem"
        super().__init__("\n  ".join([f"{source}: {count}", *self.problems]))


class EmptySelection(UsageError):
    """The selection matches nothing."""


class CredentialsRefused(CrawlerError):
    """The credentials of every account were refused."""

    exit_code = ExitCode.CREDENTIALS


class Ambiguous(CrawlerError):
    """Several answers fit where one was asked for."""

    exit_code = ExitCode.AMBIGUOUS


class UnknownKnowledge(CrawlerError):
    """What was asked is unknown, or known too long ago."""

    exit_code = ExitCode.UNKNOWN


class NotUnderstood(CrawlerError):
    """An answer cannot be read; its target fails, and nobody else. The text says why, and quotes no value of it."""


class ClockWentBackwards(CrawlerError):
    """The clock stands before the last recorded observation."""

    exit_code = ExitCode.INTERNAL


class OutputLost(CrawlerError):
    """The output cannot be written."""

    exit_code = ExitCode.INTERNAL


class DatabaseUnavailable(CrawlerError):
    """The database cannot be used."""

    exit_code = ExitCode.DATABASE


class SchemaMismatch(DatabaseUnavailable):
    """The database's schema is not the one this program knows."""


class FenceLost(DatabaseUnavailable):
    """Another process took over the lock of this run; nothing more is written."""


class LockTaken(CrawlerError):
    """Another run holds the lock."""

    exit_code = ExitCode.LOCKED

    def __init__(
        self,
        message: str | None = None,
        *,
        since: datetime | None = None,
        lock: str = "",
        session: str = "",
        is_of_worker: bool = False,
    ) -> None:
        """
        Take the sentence, *since* when the holder has it, where that is known, which *lock*, and whose *session*.

        The session of a worker is as old as the worker, and says nothing about how long it has this lock.
        """
        super().__init__(message)
        self.since = since
        self.lock = lock
        self.session = session
        self.is_of_worker = is_of_worker


# --- a fault stays where it arose ------------------------------------------------------------------------------------

#: What ends a whole run, whoever's turn it was.
ENDS_THE_RUN = (DatabaseUnavailable, ClockWentBackwards)

_PACKAGE = Path(__file__).parent


@contextmanager
def contained(on_fault: Callable[[str], object]) -> Iterator[None]:
    """
    Keep what the block raises where it arose: *on_fault* is given a sentence, and whatever follows the block goes on.

    What ends a run passes, and so does the cancellation of a task.
    """
    try:
        yield
    except ENDS_THE_RUN:
        raise
    except Exception as exc:  # noqa: BLE001 - the one place for faults that nobody foresaw
        on_fault(fault_of(exc))


def fault_of(exc: Exception) -> str:
    """Say what was raised and where in this package; without its text, which may quote a secret or a whole answer."""
    if isinstance(exc, NotUnderstood):
        return str(exc)
    place, trace = "", exc.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE) and file != Path(__file__):
            place = f" in {file.relative_to(_PACKAGE).as_posix()}:{trace.tb_lineno}"
        trace = trace.tb_next
    cause = getattr(exc, "orig", None) or exc  # what the driver said, below SQLAlchemy's own class
    return f"something was raised that nobody foresaw: {type(cause).__name__}{place}"


_EXHAUSTED = (errno.EMFILE, errno.ENFILE)


def is_exhaustion(exc: BaseException) -> bool:
    """Return whether *exc* says that no further file or connection could be opened."""
    return isinstance(exc, OSError) and exc.errno in _EXHAUSTED


def are_exhausted() -> bool:
    """Return whether no further file can be opened now; libraries that hide the reason leave no other way to know."""
    try:
        with Path("/dev/null").open("rb"):
            return False
    except OSError as exc:
        return is_exhaustion(exc)


def exhausted() -> str:
    """Return the sentence that names the limit, without a full stop."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"too many open files: this process may have {limit} open at once; raise the limit (ulimit -n)"
