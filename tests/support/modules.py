"""Which modules a call of the command loads, asked of the process that was called."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.house import ROOT

#: What takes time to load, and is of no use to somebody who wants help.
HEAVY = {"aiohttp", "sqlalchemy", "alembic", "jinja2", "pydantic"}

_PROGRAM = """
import sys
from crawler.cli import main
code = 0
try:
    main()
except SystemExit as left:
    code = left.code
print()
print(code or 0, *sorted(sys.modules), file=sys.stderr)
"""


def modules_of(*words: object, code: int = 0) -> set[str]:
    """Call `crawler` with *words* in a process of its own, expect the exit *code*, and give the modules it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'crawler'\n{_PROGRAM}", *map(str, words)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    left, *names = done.stderr.splitlines()[-1].split()
    assert int(left) == code, done
    return set(names)
