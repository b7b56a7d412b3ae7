"""Commands that are told to be pasted, as this process was called: its program, and the options they need again."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from pathlib import Path


def program() -> str:
    """Return the words that call this program again, as a shell takes them: `crawler` where the path finds it."""
    import shutil  # loads libraries that most commands do without

    is_module = Path(sys.argv[0]).parts[-2:] == ("crawler", "__main__.py") and not shutil.which("crawler")
    return _script() or (f"{shlex.quote(sys.executable)} -m crawler" if is_module else "crawler")


def options(config: Path | None, database: str | None) -> str:
    """Return the options that name *config* and *database*, each with a blank before; no password is among them."""
    from crawler.db.url import masked

    given = (("--config", str(config) if config else None), ("--database", database and masked(database)))
    return "".join(f" {name} {shlex.quote(value)}" for name, value in given if value)


def user() -> str:
    """Return the name of the user that runs this; the number where it has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the first before Python 3.13
        return str(os.getuid())


def _script() -> str:
    """Return the words for the installed script that this process is; empty where it is none."""
    called = Path(sys.argv[0])
    if called.name != "crawler" or not called.exists():
        return ""
    import shutil

    found = shutil.which("crawler")
    return "crawler" if found and Path(found).samefile(called) else shlex.quote(os.path.relpath(called))
