"""
Forks runs of the crawler on demand, so that starting one costs milliseconds: `python -m tests.support.nursery WEIGHT`.

`light` has loaded the command line and nothing behind it, `lock` what a run needs to take a lock on PostgreSQL as well,
`heavy` all that a run needs. An order is a line of JSON on
stdin, `{"runs": [{…}, …]}`: its runs are forked, set up, and let go at the same moment. Each one's end is a line on
stdout. A run that lasts longer than LIMIT_SECONDS is killed; so are all when stdin closes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

LIMIT_SECONDS = 60.0


@dataclass
class Child:
    """A run that was forked."""

    index: int
    pid: int
    life: int
    order: dict[str, Any]
    killed: bool = False

    def due(self, started: float) -> float:
        """Return the moment at which it is killed."""
        return started + (LIMIT_SECONDS if self.order.get("kill_after") is None else self.order["kill_after"])


def main(weight: str) -> None:
    """Take orders until stdin closes."""
    import crawler.cli.app
    import crawler.cli.run
    import crawler.config.loader
    import crawler.db.locks.file

    if weight != "light":
        import psycopg  # noqa: F401

        import crawler.db.locks.postgresql
    if weight == "heavy":
        import crawler.crawl.run

        # What is loaded late otherwise, for those who run as a user that cannot read Python's own files.
        "".encode("utf-8-sig")
        keys = {"UCLOUD_PUBLIC_KEY": "public", "UCLOUD_PRIVATE_KEY": "private"}
        crawler.config.loader.loads("", keys, path=Path("crawler.toml"))

    _say({"loaded": sorted(sys.modules)})
    for line in sys.stdin:
        _carry_out(json.loads(line)["runs"])


def _say(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _carry_out(orders: list[dict[str, Any]]) -> None:
    barrier, go = os.pipe()
    said, ready = os.pipe()
    children: list[Child] = []
    for index, order in enumerate(orders):
        life, alive = os.pipe()
        pid = os.fork()
        if pid == 0:
            for descriptor in (go, said, life, *(child.life for child in children)):
                os.close(descriptor)
            _be_a_run(order, ready, barrier)
        os.close(alive)
        children.append(Child(index, pid, life, order))
    os.close(ready)
    os.read(said, 1)  # ends when every child is ready and has let go of its end
    os.close(said)
    started = time.monotonic()
    os.close(go)
    os.close(barrier)
    _wait(children, started)


def _wait(children: list[Child], started: float) -> None:
    while children:
        left = max(0.0, min(child.due(started) for child in children if not child.killed) - time.monotonic())
        over, _, _ = select.select([sys.stdin, *(child.life for child in children)], [], [], left)
        if sys.stdin in over:  # nothing is ordered meanwhile: whoever gave the orders has gone
            for child in children:
                os.kill(child.pid, signal.SIGKILL)
            sys.exit()
        now = time.monotonic()
        for child in list(children):
            if child.life not in over and now >= child.due(started):
                os.kill(child.pid, signal.SIGKILL)
                child.killed = True
                over = [*over, child.life]
            if child.life in over:
                children.remove(child)
                _bury(child, now - started)


def _bury(child: Child, seconds: float) -> None:
    _, status = os.waitpid(child.pid, 0)
    os.close(child.life)
    _say(
        {
            "index": child.index,
            "pid": child.pid,
            "code": os.waitstatus_to_exitcode(status),
            "seconds": seconds,
            **_report_of(child.order),
        }
    )


def _report_of(order: dict[str, Any]) -> dict[str, Any]:
    folder = Path(order["folder"])
    try:
        report: dict[str, Any] = json.loads((folder / "report").read_text())
    except (OSError, ValueError):
        report = {"modules": [], "statements": 0}
    return report | {name: (folder / name).read_text() for name in ("stdout", "stderr")}


# --- in the child ----------------------------------------------------------------------------------------------------


def _be_a_run(order: dict[str, Any], ready: int, barrier: int) -> NoReturn:
    code, statements = 70, [0]
    folder = Path(order["folder"])
    try:
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            opened = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(opened, descriptor)
            os.close(opened)
        report = os.open(folder / "report", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(order["environ"])
        _count_statements(order, statements)
        _limit(order)
        os.close(ready)
        os.read(barrier, 1)
        code = _run(order)
        sys.stdout.flush()
        os.write(report, json.dumps({"modules": sorted(sys.modules), "statements": statements[0]}).encode())
    except BaseException as exc:  # noqa: BLE001 - a forked child must never return into its parent's loop
        os.write(2, f"{type(exc).__name__}: {exc}\n".encode())
    finally:
        os._exit(code)


def _run(order: dict[str, Any]) -> int:
    from crawler.cli.app import cli, guarded
    from crawler.cli.context import CliContext

    if order.get("batch") is not None:
        return guarded(lambda: _crawl_in_batches(order), CliContext())
    try:
        cli.main([str(word) for word in order["words"]], prog_name="crawler")
    except SystemExit as exc:
        return int(exc.code or 0)
    return 0


def _crawl_in_batches(order: dict[str, Any]) -> int:
    """Do what `crawler run` does, but write few targets at once."""
    import asyncio

    from crawler.cli.context import utc_now
    from crawler.client.api_options import Timing
    from crawler.config.loader import load
    from crawler.crawl.run import crawl
    from crawler.db.engine import opened
    from crawler.db.locks import take_locks
    from crawler.db.migrations import ensure_schema

    settings = load(Path(order["words"][1]), None, os.environ)
    names = [account.name for account in settings.accounts]
    with (
        take_locks(settings.database, names, clock=utc_now, wait_seconds=10) as fence,
        opened(settings.database) as engine,
    ):
        ensure_schema(engine, may_upgrade=True)
        timing = Timing(clock=utc_now)
        return asyncio.run(crawl(settings, engine, fence, timing=timing, batch=order["batch"])).exit_code


def _count_statements(order: dict[str, Any], statements: list[int]) -> None:
    """
    Count what is sent to the database, and die when it is time.

    That is right before statement *kill_at* (a commit counts), or before the first one after *kill_after_commits*.
    """
    if "sqlalchemy" not in sys.modules:
        return
    from sqlalchemy import Engine, event

    commits = 0

    def count(*_: object) -> None:
        statements[0] += 1
        if statements[0] == order.get("kill_at") or commits == order.get("kill_after_commits"):
            os.kill(os.getpid(), signal.SIGKILL)

    def commit(*_: object) -> None:
        nonlocal commits
        count()
        commits += 1

    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Engine, "commit", commit)


def _limit(order: dict[str, Any]) -> None:
    if order.get("largest_file") is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], resource.RLIM_INFINITY))
    if order.get("user") is not None:
        os.setgroups([])
        os.setgid(order["user"])
        os.setuid(order["user"])


if __name__ == "__main__":
    main(sys.argv[1])
