"""Calls the command line as a person would: in this process with a clock of the test's own, or as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from crawler.cli.app import cli
from crawler.cli.context import CliContext
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)


def keys(url: str = "") -> dict[str, str]:
    """Return the environment of somebody who has the emulator's keys."""
    environ = {"UCLOUD_PUBLIC_KEY": EXAMPLE_PUBLIC_KEY, "UCLOUD_PRIVATE_KEY": EXAMPLE_PRIVATE_KEY}
    return environ | ({"UCLOUD_BASE_URL": url} if url else {})


def call(
    *words: object,
    environ: Mapping[str, str] | None = None,
    now: datetime = NOW,
    code: int | None = 0,
    stdin: str | bytes | None = None,
) -> Result:
    """Call `crawler` with *words* and expect the exit *code* (None: any)."""
    context = CliContext(clock=lambda: now, environ={"HOME": "/dev/null", **(environ or {})})
    result = CliRunner(env={"CRAWLER_FORMAT": None}).invoke(
        cli, [str(word) for word in words], obj=context, input=stdin
    )
    assert code is None or result.exit_code == code, (words, result.exit_code, result.output, result.exception)
    return result


def rows(*words: object, **options: Any) -> list[dict[str, Any]]:
    """Call a reader and give its JSON."""
    document: list[dict[str, Any]] = json.loads(call(*words, "-o", "json", **options).stdout)
    return document


def process(
    *words: object, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m crawler` with *words* in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "crawler", *map(str, words)],
        env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONPATH": str(ROOT), **(environ or {})},
        cwd=cwd or ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
