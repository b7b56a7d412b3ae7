"""How many files and connections this process may have open at once, and the sentence for when it has no more."""

from __future__ import annotations

import resource
from contextlib import suppress

#: What a run has open beside its connections: streams, lock, database and journal, event loop; and a few to spare.
BESIDE_CONNECTIONS = 18


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
