"""
Drives the product the way its users do: a configuration, the real command line, an emulated cloud, a real database.

`Driver` is one user: `driver.run()` is one scheduled run an hour after the one before (in this process, with that
clock), `driver.rows("images", …)` asks. `driver.process(…)` does the same in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import Result
from sqlalchemy import Engine, event, func, select

from crawler.db.engine import opened, read
from crawler.db.schema import Base
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, EmulatorServer, LoggedRequest
from tests.support.command import NOW, call, process

#: No test waits for the throttle, and one failure is tried again once.
LIMITS = {"rate": 1000, "attempts": 2, "timeout_seconds": 5}
ASKED = "DescribeUK8SImage"


def as_toml(document: Mapping[str, Any], prefix: str = "") -> str:
    """Return *document* as TOML: values, then tables, then arrays of tables."""
    values, tables = "", ""
    for name, value in document.items():
        if isinstance(value, Mapping):
            tables += f"[{prefix}{name}]\n{as_toml(value, f'{prefix}{name}.')}"
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            tables += "".join(f"[[{prefix}{name}]]\n{as_toml(row, f'{prefix}{name}.')}" for row in value)
        else:
            values += f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
    return values + tables


def account(url: str, name: str = "prod", **more: Any) -> dict[str, Any]:
    """Return a table of `accounts` for the emulated cloud at *url*."""
    keys = {"public_key": EXAMPLE_PUBLIC_KEY, "private_key": EXAMPLE_PRIVATE_KEY}
    return {"name": name, "endpoint": url, **keys, **more}


@dataclass(slots=True)
class Ran:
    """What one `crawler run --json` said."""

    result: Result

    @property
    def code(self) -> int:
        """The exit code."""
        return self.result.exit_code

    @property
    def summary(self) -> dict[str, Any]:
        """The summary on stdout."""
        document: dict[str, Any] = json.loads(self.result.stdout)
        return document

    @property
    def targets(self) -> dict[str, int]:
        """Targets by outcome, without the zeros."""
        return {name: count for name, count in self.summary["targets"].items() if count}

    @property
    def changes(self) -> dict[str, int]:
        """Changes by event, without the zeros."""
        return {name: count for name, count in self.summary["changes"].items() if count}

    @property
    def failures(self) -> dict[str, dict[str, Any]]:
        """The failures by zone."""
        return {failure["target"]["zone"]: failure for failure in self.summary["failures"]}


@dataclass(slots=True)
class Driver:
    """One user of the command line with a configuration in *folder*; the clock moves an hour with each run."""

    folder: Path
    database: str
    document: dict[str, Any] = field(default_factory=dict)
    now: datetime = NOW

    @property
    def config(self) -> Path:
        """The configuration file, as last written."""
        return self.folder / "crawler.toml"

    def configure(self, *accounts: Mapping[str, Any], **more: Any) -> Driver:
        """Write the configuration: these *accounts* and whatever else is given."""
        limits = {**LIMITS, **more.pop("limits", {})}
        self.document = {"database": self.database, **more, "limits": limits, "accounts": list(accounts)}
        self.config.write_text(as_toml(self.document), encoding="utf-8")
        self.config.chmod(0o600)
        return self

    def call(self, *words: object, code: int | None = 0, **environ: str) -> Result:
        """Call `crawler` with the configuration, in this process; expect the exit *code* (None: any)."""
        return call("--config", self.config, *words, environ=environ, now=self.now, code=code)

    def run(self, *words: object, code: int | None = 0) -> Ran:
        """Run once with `--json`, and move the clock to the next hour."""
        ran = Ran(self.call("run", "--json", *words, code=code))
        self.now += timedelta(hours=1)
        return ran

    def rows(self, *words: object) -> list[dict[str, Any]]:
        """Ask a reader and give its JSON."""
        document: list[dict[str, Any]] = json.loads(self.call(*words, "-o", "json").stdout)
        return document

    def process(self, *words: object, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Call `crawler` with the configuration, in a process of its own."""
        return process("--config", self.config, *words, environ=environ, cwd=self.folder)

    def row_counts(self) -> dict[str, int]:
        """Count the rows of every table."""
        with opened(self.database, read_only=True) as engine, read(engine) as conn:
            return {
                table.name: conn.execute(select(func.count()).select_from(table)).scalar_one()
                for table in Base.metadata.sorted_tables
            }


def asked(cloud: EmulatorServer, action: str = ASKED, since: int = 0) -> list[LoggedRequest]:
    """Return the requests with *action* that the cloud has logged, from the log's line *since* on."""
    return [line for line in cloud.log[since:] if line.action == action]


@dataclass(slots=True)
class Statements:
    """What the program told its databases: rows written by verb, and transactions that wrote."""

    rows: Counter[str] = field(default_factory=Counter)
    tables: Counter[str] = field(default_factory=Counter)
    transactions: int = 0
    #: Every statement, for the message of a failed assertion.
    texts: list[str] = field(default_factory=list)


WRITES = ("INSERT", "UPDATE", "DELETE")


@contextmanager
def counted_statements() -> Iterator[Statements]:
    """Count what every engine of this process writes: rows by verb and by table, and the transactions they were in."""
    counted = Statements()
    dirty: set[int] = set()

    def executed(conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
        words = statement.split()
        verb = words[0].upper()
        counted.texts.append(statement)
        if verb not in WRITES:
            return
        rows = len(parameters) if executemany else 1
        table = next(word for word in words[1:] if word.upper() not in ("INTO", "FROM", "OR", "IGNORE")).strip('"')
        counted.rows[verb] += rows
        counted.tables[f"{verb} {table}"] += rows
        dirty.add(id(conn))

    def ended(conn: Any) -> None:
        if id(conn) in dirty:
            dirty.discard(id(conn))
            counted.transactions += 1

    listeners: dict[str, Any] = {"before_cursor_execute": executed, "commit": ended}
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    try:
        yield counted
    finally:
        for name, listener in listeners.items():
            event.remove(Engine, name, listener)


def zones_of(rows: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Count rows by zone."""
    return Counter(row["zone"] for row in rows)
