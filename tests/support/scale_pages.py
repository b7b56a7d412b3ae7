"""The curves of `docs/scale.json` as the page of figures shows them: tables between markers, and the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.curves import Curve, Panel, drawing
from tests.support.figures import number

Document = dict[str, Any]

DOCUMENT = Path("docs", "scale.json")
PICTURE = Path("docs", "scale.svg")
BEGIN, END = "<!-- scale:begin -->", "<!-- scale:end -->"
RUNS = {"first": "first run", "unchanged": "unchanged", "changed": "1 % replaced"}
#: The load average up to which a machine is quiet.
QUIET = 0.5
_MB = 1_000_000


# --- the table -------------------------------------------------------------------------------------------------------


def in_page(text: str, document: Document) -> str:
    """Put the tables between the markers of *text*."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin, f"there is no {BEGIN}"
    assert end, f"there is no {END}"
    body = "\n".join(markdown(document))
    return f"{head}{BEGIN}\n{body}\n{END}{tail}"


def markdown(document: Document) -> list[str]:
    """Return the page's lines: a row per number of targets, then one per age of the history."""
    return [heading(document), "", *_targets(document["targets"]), "", *_years(document["years"])]


def heading(document: Document) -> str:
    """Say when, on what and of which commit the curves are."""
    made = document["machine"]
    parts = [
        f"{document['date'][:16].replace('T', ' ')} UTC",
        f"{made['cpu']}, {made['cores']} cores, {made['os']}, {made['python']}",
        f"commit {document['commit']}",
        f"in {document['seconds'] / 60:.0f} minutes",
    ]
    if document["load"] > QUIET:
        parts.append(f"not alone: load {document['load']:g}")
    return " · ".join(parts)


def _targets(measured: Sequence[Document]) -> Iterator[str]:
    yield "| 10 · 100 images each | first run | unchanged run | 1 % replaced | peak memory | database |"
    yield "|---|---|---|---|---|---|"
    for size in sorted({row["targets"] for row in measured}):
        rows = sorted((row for row in measured if row["targets"] == size), key=lambda row: int(row["images"]))
        cells = [
            *(_joined([row[run]["seconds"] for row in rows], "s") for run in RUNS),
            _joined([peak(row) for row in rows], "MB"),
            _joined([row["bytes"][0] / _MB for row in rows], "MB"),
        ]
        yield f"| {size:,} targets | {' | '.join(cells)} |"


def _years(measured: Sequence[Document]) -> Iterator[str]:
    yield (
        "| 50 targets × 100 images, 1 % replaced a day | runs | database"
        " | one target then | a zone then | a day's changes | unchanged run |"
    )
    yield "|---|---|---|---|---|---|---|"
    for row in measured:
        asked = " | ".join(f"{number(row[name])} ms" for name in ("one_target_ms", "zone_ms", "day_ms"))
        run = f"{number(row['unchanged_seconds'] * 1000)} ms, {row['unchanged_bytes']} B"
        age = f"{row['years']} year{'s' if row['years'] > 1 else ''}"
        yield f"| {age} | {row['runs']:,} | {number(row['bytes'] / _MB)} MB | {asked} | {run} |"


def _joined(values: Sequence[float], unit: str) -> str:
    return f"{' · '.join(number(value) for value in values)} {unit}"


def peak(row: Document) -> float:
    """Return the most memory that any of the runs took."""
    return max(float(row[run]["peak_mb"]) for run in RUNS)


# --- the picture -----------------------------------------------------------------------------------------------------


def picture(document: Document) -> str:
    """Return the SVG: time, memory and bytes over the targets, answers and bytes over the years."""
    return drawing(
        [list(_over_targets(document["targets"])), list(_over_years(document["years"]))],
        title="What grows with the targets and with the years",
        description="Logarithmic axes. Above, solid lines are of 10 images per target, dashed ones of 100. "
        "The numbers are in docs/scale.json.",
    )


def _over_targets(measured: Sequence[Document]) -> Iterator[Panel]:
    sizes = sorted({row["targets"] for row in measured})
    by_images = {images: [row for row in measured if row["images"] == images] for images in _images(measured)}

    def curves(values: Sequence[tuple[str, Any]]) -> list[Curve]:
        return [
            Curve(
                label="" if place else label,
                colour=colour,
                points=[(row["targets"], of(row)) for row in rows],
                dashed=place > 0,
            )
            for place, rows in enumerate(by_images.values())
            for colour, (label, of) in enumerate(values)
        ]

    seconds = [(label, lambda row, run=run: row[run]["seconds"]) for run, label in RUNS.items()]
    memory = [(label, lambda row, run=run: row[run]["peak_mb"]) for run, label in RUNS.items()]
    yield Panel(title="seconds of a run", axis="targets", ticks=sizes, curves=curves(seconds))
    yield Panel(title="peak memory, MB", axis="targets", ticks=sizes, curves=curves(memory))
    size = [
        Curve(
            label=f"{images} images",
            colour=3,
            points=[(row["targets"], row["bytes"][0] / _MB) for row in rows],
            dashed=place > 0,
        )
        for place, (images, rows) in enumerate(by_images.items())
    ]
    yield Panel(title="database after the first run, MB", axis="targets", ticks=sizes, curves=size)


def _images(measured: Sequence[Document]) -> list[int]:
    return sorted({row["images"] for row in measured})


def _over_years(measured: Sequence[Document]) -> Iterator[Panel]:
    years = [row["years"] for row in measured]

    def curve(label: str, colour: int, name: str, unit: float = 1) -> Curve:
        return Curve(label=label, colour=colour, points=[(row["years"], row[name] / unit) for row in measured])

    answers = [curve("one target", 0, "one_target_ms"), curve("a zone", 1, "zone_ms"), curve("a day", 2, "day_ms")]
    yield Panel(title="answers about the past, ms", axis="years", ticks=years, curves=answers)
    run = [curve("unchanged", 1, "unchanged_seconds", 0.001)]
    yield Panel(title="unchanged run on top, ms", axis="years", ticks=years, curves=run)
    size = [curve("database", 3, "bytes", _MB)]
    yield Panel(title="database, MB", axis="years", ticks=years, curves=size)
