"""Another user of the machine, who may read what everybody may."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

NOBODY = 65534


def as_nobody(action: Callable[[], str]) -> str:
    """Do *action* in a process of a user without any rights and give what it says."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            said = action()
        except BaseException as exc:  # noqa: BLE001 - a forked child must never return into pytest
            said = f"{type(exc).__name__}: {exc}"
        os.write(writable, said.encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said
