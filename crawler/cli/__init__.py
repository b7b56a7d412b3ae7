"""The command line: argv → call → print → exit code. One small file per group of commands, loaded when it is called."""

from __future__ import annotations

import gc

#: Objects made before the garbage collector looks at them: at its default it takes a fifth of a short command, going
#: again and again through what libraries made while they were loaded.
_UNCOLLECTED = 50_000


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    gc.set_threshold(_UNCOLLECTED)
    from crawler.cli.streams import settle

    settle()
    from crawler.cli.app import cli

    try:
        cli.main(prog_name="crawler")
    finally:
        # else Python goes through all of it three more times at its end, which takes another fifth
        gc.freeze()
