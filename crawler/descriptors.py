"""How many files and connections this process may have open at once, and the sentence for when it has no more."""

from __future__ import annotations

import errno
import resource
from contextlib import suppress
from pathlib import Path

#: What a run has open beside its connections: streams, lock, database and journal, event loop; and a few to spare.
BESIDE_CONNECTIONS = 18
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)


def is_exhaustion(exc: BaseException) -> bool:
    """Tell whether *exc* says that no further file or connection could be opened."""
    return isinstance(exc, OSError) and exc.errno in _EXHAUSTED


def are_exhausted() -> bool:
    """Tell whether no further file can be opened now; libraries that hide the reason leave no other way to know."""
    try:
        with Path("/dev/null").open("rb"):
            return False
    except OSError as exc:
        return is_exhaustion(exc)


def exhausted() -> str:
    """Give the sentence that names the limit, without a full stop."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"too many open files: this process may have {limit} open at once; raise the limit (ulimit -n)"


def make_room(connections: int) -> int:
    """
    Raise this process's own limit so that *connections* fit in, as far as the system allows; give how many do.

    It may be none, or less: then a run has no room even for itself.
    """
    wanted = connections + BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return min(connections, soft - BESIDE_CONNECTIONS)
