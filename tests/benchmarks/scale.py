"""
The curves: what grows with the number of targets, and what with the age of the history.

`python -m tests.benchmarks.scale` measures, some ten minutes on two quiet cores, and makes `docs/scale.json`, the
picture `docs/scale.svg` and the page's table; `--quick` leaves out what is large and writes nothing, `--render` only
makes picture and table anew from what was measured before.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

from tests.benchmarks import scale_runs, scale_years
from tests.support.acceptance_table import commit
from tests.support.bench_report import machine
from tests.support.house import ROOT
from tests.support.scale_pages import DOCUMENT, PICTURE, in_page, markdown, picture

QUICK_TARGETS, QUICK_YEARS = 450, 1


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Measure everything, the small first."""
    now, begun, load = datetime.now(UTC), time.monotonic(), os.getloadavg()[0]
    targets = [
        _told(scale_runs.measure(images, size))
        for images, sizes in scale_runs.SIZES.items()
        for size in sizes
        if not quick or size <= QUICK_TARGETS
    ]
    years = [_told(scale_years.measure(age)) for age in scale_years.YEARS if not quick or age <= QUICK_YEARS]
    return {
        "date": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "commit": commit(),
        "seconds": round(time.monotonic() - begun),
        "load": round(load, 2),
        "machine": machine(),
        "targets": targets,
        "years": years,
    }


def _told(row: dict[str, Any]) -> dict[str, Any]:
    sys.stderr.write(f"{json.dumps(row)}\n")
    return row


def as_json(document: dict[str, Any]) -> str:
    """Return the document as text, a line per measured size."""
    head = json.dumps({name: value for name, value in document.items() if not isinstance(value, list)}, indent=1)
    lists = [
        f' "{name}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]"
        for name, rows in document.items()
        if isinstance(rows, list)
    ]
    return f"{head.removesuffix('}').rstrip()},\n" + ",\n".join(lists) + "\n}\n"


def render(document: dict[str, Any]) -> None:
    """Make the picture and the page's table."""
    (ROOT / PICTURE).write_text(picture(document), encoding="utf-8")
    page = ROOT / "docs" / "figures.md"
    page.write_text(in_page(page.read_text(encoding="utf-8"), document), encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Do what the *arguments* say."""
    if unknown := set(arguments) - {"--quick", "--render"}:
        sys.exit(f"unknown: {' '.join(sorted(unknown))}; there are --quick and --render")
    if "--render" in arguments:
        document = json.loads((ROOT / DOCUMENT).read_text(encoding="utf-8"))
    else:
        document = measure(quick="--quick" in arguments)
    if "--quick" not in arguments:
        (ROOT / DOCUMENT).write_text(as_json(document), encoding="utf-8")
        render(document)
    sys.stdout.write("\n".join(markdown(document)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
