"""
`./dev mutate`: change one thing at a time in the code that judges, and see whether a test fails.

What is mutated and by which tests it is judged: `tests.mutation.lanes`. Exits with 1 when fewer than nine of ten
mutants are killed, or one survives whose reason is not in `survivors.toml`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.lanes import LANES, Lane, names_of, pattern_of, prepare, verdicts
from tests.mutation.survivors import described, reasons
from tests.support.acceptance_table import heading, put
from tests.support.house import ROOT

BAR = 0.9
MARKERS = ("<!-- mutate:begin -->", "<!-- mutate:end -->")
#: A test that waits for ever was stopped, or the interpreter died: somebody would notice.
KILLED = {"killed", "timeout", "segfault"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What of a lane is to be tried."""

    lane: Lane
    files: list[Path]
    names: list[str]
    #: Every mutant of these files.
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """A mutant, and what became of it."""

    path: Path
    verdict: str
    #: What it changed, of those that live.
    change: str = ""


def main(words: Sequence[str]) -> int:
    """Do what *words* ask for, print the table and the survivors, and return the exit code."""
    asked = _parser().parse_args(words)
    chosen = _survivors(asked.paths) if asked.survivors else _fresh(asked.paths, asked.sample, asked.seed)
    if not any(one.names for one in chosen):
        sys.stderr.write("dev: there is no mutant to try in these files\n")
        return 2
    for one in chosen:
        if one.names:
            _run(one)
    found = [tried for one in chosen for tried in _tried(one)]
    if asked.publish:
        put(ROOT, MARKERS, _table(found))
    return _report(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev mutate", description="Whether a test fails for each small fault.")
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="files or folders; without any: everything")
    parser.add_argument("--sample", type=int, metavar="N", help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="draws the same ones again (1)")
    parser.add_argument("--survivors", action="store_true", help="only those that survived the last time")
    parser.add_argument("--publish", action="store_true", help="put the table into docs/proofs.md as well")
    return parser


def _files(lane: Lane, paths: Sequence[Path]) -> list[Path]:
    return [file for file in lane.files() if not paths or any(path in (file, *file.parents) for path in paths)]


def _survivors(paths: Sequence[Path]) -> list[Chosen]:
    """Choose what lived on the last time."""
    chosen = []
    for lane in LANES:
        files = _files(lane, paths)
        names = [name for _, name, verdict in verdicts(lane, files) if verdict not in KILLED]
        chosen.append(Chosen(lane, files, names, is_whole=False))
    return chosen


def _fresh(paths: Sequence[Path], sample: int | None, seed: int) -> list[Chosen]:
    """Choose every mutant in *paths*, or a *sample* of them; what was found before is forgotten."""
    every: list[tuple[Lane, str]] = []
    for lane in LANES:
        if files := _files(lane, paths):
            shutil.rmtree(lane.folder, ignore_errors=True)  # a verdict of older code or tests is none
            prepare(lane)
            every += [(lane, name) for name in names_of(lane, files)]
    drawn = every if sample is None else random.Random(seed).sample(every, min(sample, len(every)))
    return [
        Chosen(lane, _files(lane, paths), [name for of, name in drawn if of is lane], is_whole=sample is None)
        for lane in LANES
    ]


def _run(chosen: Chosen) -> None:
    """Have mutmut try the mutants, at the lowest priority, one after the other."""
    lane = chosen.lane
    prepare(lane)
    sys.stderr.write(f"dev: {len(chosen.names)} mutants of the lane {lane.name}\n")
    said = lane.folder / "mutmut.txt"
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", "1"]
    command += [pattern_of(file) for file in chosen.files] if chosen.is_whole else chosen.names
    with said.open("wb") as output:
        done = subprocess.run(
            command,
            cwd=lane.folder,
            stdout=output,
            stderr=output,
            preexec_fn=lambda: os.nice(19),
        )
    if done.returncode != 0:
        sys.exit(f"dev: mutmut could not run: see {said}")


def _tried(chosen: Chosen) -> Iterator[Tried]:
    """Yield what became of each mutant that was chosen."""
    wanted = set(chosen.names)
    for path, name, verdict in verdicts(chosen.lane, chosen.files):
        if name not in wanted:
            continue
        if verdict in KILLED:
            yield Tried(path, "killed")
        else:
            yield Tried(path, verdict, described(chosen.lane, path, name))


def _table(tried: Sequence[Tried]) -> list[str]:
    """Return how many of each module's mutants are killed."""
    by_module: dict[str, Counter[str]] = defaultdict(Counter)
    for one in tried:
        by_module[str(one.path)][one.verdict] += 1
    total = sum(by_module.values(), Counter[str]())
    lines = [
        heading(),
        "",
        "| module | mutants | killed | survived | reached by no test |",
        "|---|---:|---:|---:|---:|",
    ]
    for module, counts in [*sorted(by_module.items()), ("all", total)]:
        killed = f"{counts['killed']} ({counts['killed'] / counts.total():.1%})"
        lines.append(f"| {module} | {counts.total()} | {killed} | {counts['survived']} | {counts['no tests']} |")
    return lines


def _report(tried: Sequence[Tried]) -> int:
    """Print the table, and who lives without a reason; return the exit code."""
    living = [one.change for one in tried if one.verdict != "killed"]
    known = reasons()
    unknown = sorted(change for change in living if change not in known)
    said = f"{len(living)} live, {len(living) - len(unknown)} of them for a reason that is listed"
    sys.stdout.write("\n".join([*_table(tried), "", said, *unknown, ""]))
    return int(bool(unknown) or len(tried) - len(living) < BAR * len(tried))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
