"""
Files and folders that a configuration names for later: those that a report, a run or its metrics would miss.

The loader reads the others itself. What is made where it is missing, as the database and the published folder, may be.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crawler.config.pin_files import pins_in
from crawler.config.sources import Findings, Location, in_home, path_of
from crawler.db.url import parse_address

#: What every SQLite file begins with; one that is empty is a database without tables.
_SQLITE = b"SQLite format 3\0"


def look_for_named(document: Mapping[str, Any], folder: Path, environ: Mapping[str, str], findings: Findings) -> None:
    """
    Note what of the files and folders that *document* names, but for its database, cannot be used by what needs them.

    Paths are relative to *folder*, but for those of `pins_from`, which are absolute. What a folder of pins holds and
    cannot be understood is a warning.
    """
    reports = document.get("reports")
    for index, report in enumerate(reports if isinstance(reports, list) else []):
        names = report.get("pins_from") if isinstance(report, dict) else None
        if isinstance(names, list):
            _look_for_pins(names, ("reports", index, "pins_from"), findings)
    if textfile := _path(document, "metrics", "textfile", folder, environ):
        is_folder = os.path.isdir(textfile)  # noqa: PTH112 - no error for a name too long
        if problem := f"{textfile} is a folder" if is_folder else unfit_folder(textfile.parent):
            findings.problem(("metrics", "textfile"), problem)
    if published := _path(document, "publish", "dir", folder, environ):
        there = next(path for path in (published, *published.parents) if os.path.lexists(path))
        if problem := unfit_folder(there):
            findings.problem(("publish", "dir"), problem)


def unfit_folder(path: Path) -> str:
    """Return why nothing can be written into the folder *path*; empty where it can."""
    if not os.path.lexists(path):
        return f"the folder {path} does not exist"
    if not os.path.isdir(path):  # noqa: PTH112 - no error where a folder on the way lets nobody in
        return f"{path} is no folder"
    return "" if os.access(path, os.W_OK | os.X_OK) else f"the folder {path} cannot be written to"


def _path(document: Mapping[str, Any], table: str, key: str, folder: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the path that *key* of *table* is; None where it is none, which the schema says."""
    keys = document.get(table)
    name = keys.get(key) if isinstance(keys, dict) else None
    return folder / in_home(name, environ) if isinstance(name, str) and name.strip() else None


def _look_for_pins(names: list[Any], at: Location, findings: Findings) -> None:
    for number, name in enumerate(names):
        if not isinstance(name, str) or not os.path.isabs(name):  # noqa: PTH117 - "live", and what the schema refuses
            continue
        place = (*at, number) if len(names) > 1 else at

        def complain(file: Path, problem: ValueError, name: str = name, place: Location = place) -> None:
            if file == Path(name):
                findings.problem(place, f"{file} {problem}")
            else:
                findings.warnings.append(f"{path_of(place)}: {file} {problem}; it is left out")

        try:
            for _ in pins_in(name, complain, is_strict=True):
                pass
        except ValueError as exc:
            findings.problem(place, str(exc))


def look_for_database(url: str, at: Location, findings: Findings) -> None:
    """Note at *at* what keeps the SQLite file at *url*, empty where that is no good, from being one, or being made."""
    path = parse_address(url).path if url else None
    if path is None:
        return
    try:
        problem = _unfit_file(path)
    except FileNotFoundError:
        problem = unfit_folder(path.parent)
    except OSError as exc:
        problem = f"{path} cannot be read: {exc.strerror}"
    if problem:
        findings.problem(at, problem)


def _unfit_file(path: Path) -> str:
    """Return why the file *path* is no SQLite database; empty where it is one. Raises OSError."""
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait
        return f"{path} is no file"
    with path.open("rb") as file:
        return "" if file.read(len(_SQLITE)) in (b"", _SQLITE) else f"{path} is no SQLite database"
