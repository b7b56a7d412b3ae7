"""
The figures of a session as a document, as a table for a terminal, as a file, and as the table of `docs/figures.md`.

`python -m tests.support.bench_report .bench/FILE.json` publishes a document that was saved before.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.support.acceptance_table import commit
from tests.support.figures import NOT_MEASURED, ROWS, Figure, number, with_unit
from tests.support.house import ROOT

Document = dict[str, Any]

PUBLISHED = Path("docs", "bench.json")
PAGE = "docs/figures.md"
#: What stands in the page around the table.
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
#: The load average up to which a machine is quiet.
QUIET = 0.5
_WIDTH = 140


def document_of(figures: Sequence[Figure], *, seconds: float, load: float = 0.0) -> Document:
    """Return everything there is to tell, in the order of the promise; *load* is what the machine did before."""
    order = [*ROWS, NOT_MEASURED]
    now = datetime.now(UTC)
    return {
        "date": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "commit": commit(),
        "seconds": round(seconds),
        "load": round(load, 2),
        "machine": machine(),
        "rows": [{**asdict(figure), "bar": figure.bar} for figure in sorted(figures, key=lambda f: order.index(f.row))],
    }


def machine() -> dict[str, Any]:
    """Return what a reader needs to know about this machine, and nothing that says whose it is."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu(),
        "cores": cores,
        "os": _system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def figures_in(document: Document) -> list[Figure]:
    """Return the figures of a document back."""
    return [Figure(**{name: value for name, value in row.items() if name != "bar"}) for row in document["rows"]]


def heading(document: Document) -> str:
    """Say when, on what and of which commit the figures are."""
    made = document["machine"]
    on = f"{made['cpu']}, {made['cores']} cores, {made['os']}, {made['python']}"
    busy = f" · not alone: load {document['load']:g}" if document["load"] > QUIET else ""
    return f"{document['date'][:16].replace('T', ' ')} UTC · {on} · commit {document['commit']}{busy}"


# --- for a terminal --------------------------------------------------------------------------------------------------


def table(document: Document) -> list[str]:
    """Lay the figures out, row by row: figure, bar, measured, verdict; the details below each."""
    figures = figures_in(document)
    lines = [heading(document)]
    names = [f"{figure.what} ({figure.case})" if figure.case else figure.what for figure in figures]
    left = min(max(map(len, names), default=0), 72)
    for row, group in groupby(zip(figures, names, strict=True), key=lambda pair: pair[0].row):
        lines += ["", row]
        for figure, name in group:
            first, *rest = textwrap.wrap(name, left)
            verdict = "" if figure.verdict == "shown" else figure.verdict
            lines.append(f"  {first:{left}}  {figure.bar:14}  {figure.value:12}  {verdict}".rstrip())
            lines += [f"  {text}" for text in rest]
            lines += [f"      {text}" for text in textwrap.wrap(figure.detail, _WIDTH - 6)]
    judged = [figure for figure in figures if figure.verdict != "shown"]
    counts = {verdict: sum(f.verdict == verdict for f in judged) for verdict in ("pass", "SHORT", "FAIL", "skip")}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return [*lines, "", f"{told}; in {document['seconds'] // 60} min {document['seconds'] % 60} s"]


# --- files -----------------------------------------------------------------------------------------------------------


def save(document: Document) -> Path:
    """Write the document into the folder `.bench` of the checkout; give its place there."""
    path = Path(".bench", f"{document['date'].replace(':', '')}.json")
    (ROOT / path).parent.mkdir(exist_ok=True)
    (ROOT / path).write_text(as_json(document), encoding="utf-8")
    return path


def as_json(document: Document) -> str:
    """Return the document as text, a line per figure, so that two of them can be compared."""
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in document["rows"])
    head = {name: value for name, value in document.items() if name != "rows"}
    text = json.dumps(head, ensure_ascii=False, indent=1)
    return f'{text.removesuffix("}").rstrip()},\n "rows": [\n{rows}\n ]\n}}\n'


def publish(document: Document, root: Path = ROOT) -> str:
    """Write the published document and the page's table, if every row was measured; say what was done."""
    missing = set(ROWS) - {row["row"] for row in document["rows"]}
    if missing or any(row["verdict"] == "FAIL" for row in document["rows"]):
        return f"not published: {', '.join(sorted(missing)) or 'a measurement failed'}"
    page = root / PAGE
    text = page.read_text(encoding="utf-8")
    page.write_text(in_place(text, markdown(document)), encoding="utf-8")
    (root / PUBLISHED).write_text(as_json(document), encoding="utf-8")
    return f"published: {PUBLISHED} and the table of {PAGE}"


def in_place(text: str, lines: Sequence[str], markers: tuple[str, str] = (BEGIN, END)) -> str:
    """Put *lines* between the *markers* of *text*."""
    head, begin, rest = text.partition(markers[0])
    _, end, tail = rest.partition(markers[1])
    assert begin, f"there is no {markers[0]}"
    assert end, f"there is no {markers[1]}"
    body = "\n".join(lines)
    return f"{head}{begin}\n{body}\n{end}{tail}"


def main() -> None:
    """Publish a saved document."""
    sys.stdout.write(publish(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))) + "\n")


# --- for the page ----------------------------------------------------------------------------------------------------


def markdown(document: Document) -> list[str]:
    """Return the page's lines: one per figure, its cases side by side."""
    figures = [figure for figure in figures_in(document) if not figure.minor and figure.row != NOT_MEASURED]
    return [heading(document), "", "| figure | bar | measured |", "|---|---|---|", *_lines(figures)]


def _lines(figures: Sequence[Figure]) -> Iterator[str]:
    merged: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        merged.setdefault((figure.row, figure.what), []).append(figure)
    for (row, what), cases in merged.items():
        yield f"| {row}: {what} | {_bars(cases)} | {', '.join(map(_case, cases))} |"


def _bars(cases: Sequence[Figure]) -> str:
    bars = list(dict.fromkeys(figure.bar for figure in cases))
    return bars[0] if len(bars) == 1 else ", ".join(f"{figure.case} {figure.bar}" for figure in cases if figure.bar)


def _case(figure: Figure) -> str:
    if figure.measured is None:
        return f"{figure.case} {figure.verdict}".strip()
    value = with_unit(number(figure.measured), figure.unit)
    short = " **short**" if figure.verdict == "SHORT" else ""
    return f"{figure.case}{' ' if figure.case else ''}{value}{short}"


if __name__ == "__main__":
    main()
