"""The command line: argv → call → print → exit code. One small file per group of commands, loaded when it is called."""

from __future__ import annotations


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    from crawler.cli.streams import settle

    settle()
    from crawler.cli.app import cli

    cli.main(prog_name="crawler")
