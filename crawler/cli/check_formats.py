"""
The rows of `crawler check` as other tools read findings: SARIF 2.1.0, GitHub, GitLab, JUnit, Markdown.

What is good is no finding, but a test of JUnit's that passed. Each finding says what is wrong, what to change it to,
and what that does there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from crawler import __version__
from crawler.cli.check_files import from_here
from crawler.domain.scanner.words import Effect
from crawler.domain.text import agreeing, one_line
from crawler.queries.check.rules import BAD, NOT_KNOWN, OUT_OF_SCOPE, OUTCOMES, CheckOutcome, CheckRow

Level = Literal["error", "warning", "note"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_SAYS: Mapping[CheckOutcome, str] = {
    "ok": "the image is there",
    "superseded": "a newer image of the same name is there",
    "ending": "the maintenance of the image ends within 90 days, or is over",
    "out-of-scope": "the history does not hold images of this kind",
    "re-issued": "the image was withdrawn or cannot be used, and another took its place",
    "ambiguous": "the image was withdrawn or cannot be used, and several came in its place",
    "missing": "the image was withdrawn or cannot be used, and none took its place",
    "never-seen": "the image was never listed there",
    "gpu-lost": "the image does not support GPU",
    "revoked": "somebody revoked the image",
    "not-asked": "nobody asks the cloud about it",
    "unknown": "nobody knows whether the image is there",
    "stale": "what is known of the image is too old",
}
EFFECTS_SAY: Mapping[Effect, str] = {
    "later-nodes": "only later nodes use it",
    "nothing": "nothing: Terraform does not act on it",
    "replaces-cluster": "Terraform replaces the cluster",
    "reinstalls-machine": "the machine is reinstalled",
    "rebuilds-image": "the next build starts from it",
    "unknown": "nobody knows what it does",
}
_GITLAB: Mapping[Level, str] = {"error": "major", "warning": "minor", "note": "info"}
_GITHUB: Mapping[Level, str] = {"error": "error", "warning": "warning", "note": "notice"}


def _level(row: CheckRow) -> Level | None:
    """Return how grave a row is; None for none that is a finding."""
    if row.outcome in BAD:
        return "error"
    if row.outcome in NOT_KNOWN or row.outcome == "ending":
        return "warning"
    return "note" if row.outcome == "superseded" else None


def _findings(rows: Iterable[CheckRow]) -> list[tuple[CheckRow, Level]]:
    return [(row, level) for row in rows if (level := _level(row)) is not None]


def _marked_findings(rows: Iterable[CheckRow]) -> Iterator[tuple[CheckRow, Level, str]]:
    """Return the findings with their fingerprints, no two of which are the same."""
    seen: Counter[str] = Counter()
    for row, level in _findings(rows):
        first = _fingerprint(row, 0)
        yield row, level, _fingerprint(row, seen[first])
        seen[first] += 1


def _message(row: CheckRow) -> str:
    """Say on one line what is wrong, and what to do."""
    what = row.image_id or row.rule
    named = f" ({row.image_name})" if row.image_name and row.image_id else ""
    told = f"{what}{named} is {row.outcome}{f' in {row.zone}' if row.zone else ''}"
    parts = [told, *([row.detail] if row.detail and row.detail != row.image_name else [])]
    sentence = ": ".join(parts).rstrip(".") + "."
    if row.successor:
        sentence += f" Change it to {row.successor}"
        sentence += f": {EFFECTS_SAY[row.effect]}." if row.effect else "."
    elif row.effect:
        sentence += f" A change there: {EFFECTS_SAY[row.effect]}."
    return one_line(sentence, 2_000)


def _path(row: CheckRow) -> str | None:
    """Return the path of the row's file as a checkout has it: relative, with slashes."""
    if row.file is None or row.file == "stdin":
        return None
    return from_here(row.file)


def _fingerprint(row: CheckRow, before: int) -> str:
    """
    Return what stays the same when lines move: where the id stands, and which it is.

    *before*: so many of the same stand before it, as in a script that names an id twice.
    """
    parts: tuple[str, ...] = (_path(row) or "", row.address or "", row.rule, row.zone or "", row.outcome)
    parts += (str(before),) if before else ()
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _dump(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


# --- the formats -----------------------------------------------------------------------------------------------------


def sarif(rows: Sequence[CheckRow]) -> str:
    """Return *rows* as a SARIF 2.1.0 log."""
    rules = [
        {"id": outcome, "shortDescription": {"text": f"{_SAYS[outcome][0].upper()}{_SAYS[outcome][1:]}."}}
        for outcome in OUTCOMES
        if outcome not in ("ok", OUT_OF_SCOPE)
    ]
    driver = {"name": "crawler", "version": __version__, "rules": rules}
    results = [_result(row, level, mark) for row, level, mark in _marked_findings(rows)]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return _dump({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(row: CheckRow, level: Level, mark: str) -> dict[str, Any]:
    region: dict[str, int] = {"startLine": row.line or 1}
    if row.place is not None and row.line:
        region |= {"startColumn": row.place.column, "endColumn": row.place.column + len(row.place.image_id)}
    # GitHub refuses a whole log for one result without a place, so what stands in no file has one by its source
    path = _path(row) or row.source.partition(",")[0] or "live"
    # by its bytes: a name need not be UTF-8
    where: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": quote(os.fsencode(path))}, "region": region}
    }
    if row.address:
        where["logicalLocations"] = [{"fullyQualifiedName": row.address}]
    return {
        "ruleId": row.outcome,
        "level": level,
        "message": {"text": _message(row)},
        "locations": [where],
        "partialFingerprints": {"pin/v1": mark},
    }


def github(rows: Sequence[CheckRow]) -> str:
    """Return *rows* as annotations of a GitHub workflow, a line each."""
    return "".join(
        f"::{_GITHUB[level]} {','.join(_properties(row))}::{_escaped(_message(row))}\n"
        for row, level in _findings(rows)
    )


def _properties(row: CheckRow) -> Iterable[str]:
    path = _path(row)
    if path is not None:
        yield f"file={_escaped_property(path)}"
        yield f"line={row.line or 1}"
        if row.place is not None:
            yield f"col={row.place.column}"
    yield f"title={_escaped_property(f'{row.image_id or row.rule} is {row.outcome}')}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def gitlab(rows: Sequence[CheckRow]) -> str:
    """Return *rows* as a report of GitLab's Code Quality; what stands in no file is said of the folder."""
    return _dump(
        [
            {
                "description": _message(row),
                "check_name": f"crawler-{row.outcome}",
                "fingerprint": mark,
                "severity": _GITLAB[level],
                "location": {"path": _path(row) or ".", "lines": {"begin": row.line or 1}},
            }
            for row, level, mark in _marked_findings(rows)
        ]
    )


def junit(rows: Sequence[CheckRow]) -> str:
    """
    Return *rows* as a JUnit report: a suite for each file, a test for each row.

    No two tests have the same name and class: GitLab shows the first of such alone, be it good or bad.
    """
    suites: dict[str, list[CheckRow]] = {}
    for row in rows:
        suites.setdefault(row.file or "crawler check", []).append(row)
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f'<testsuites name="crawler check" {_counts(rows)}>']
    seen: Counter[tuple[str, str]] = Counter()
    for name, cases in suites.items():
        lines.append(f"<testsuite name={_attribute(name)} {_counts(cases)}>")
        for row in cases:
            called = _names(row)
            seen[called] += 1
            lines.append(_case(row, *called, seen[called]))
        lines.append("</testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def _counts(rows: Sequence[CheckRow]) -> str:
    failures = sum(row.outcome in BAD for row in rows)
    errors = sum(row.outcome in NOT_KNOWN for row in rows)
    skipped = sum(row.outcome == OUT_OF_SCOPE for row in rows)
    return f'tests="{len(rows)}" failures="{failures}" errors="{errors}" skipped="{skipped}"'


def _names(row: CheckRow) -> tuple[str, str]:
    """Return what a test is called, and its class."""
    where = f", line {row.line}" if row.line else ""
    return f"{row.rule}{f' in {row.zone}' if row.zone else ''}{where}", row.address or row.file or "policy"


def _case(row: CheckRow, name: str, place: str, number: int) -> str:
    """Return the test of a row; *number*: so many were called so, this one among them."""
    numbered = f"{name} ({number})" if number > 1 else name
    begin = f"<testcase name={_attribute(numbered)} classname={_attribute(place)}"
    word = (
        "failure" if row.outcome in BAD else "error" if row.outcome in NOT_KNOWN
        else "skipped" if row.outcome == OUT_OF_SCOPE else None
    )  # fmt: skip
    if word is None:
        said = f"<system-out>{escape(_xml(_message(row)))}</system-out>" if row.outcome != "ok" else ""
        return f"{begin}>{said}</testcase>" if said else f"{begin}/>"
    kind = "" if word == "skipped" else f" type={_attribute(row.outcome)}"
    return f"{begin}><{word} message={_attribute(_message(row))}{kind}/></testcase>"


def _attribute(text: str) -> str:
    return quoteattr(_xml(text))


def _xml(text: str) -> str:
    """Return *text* without what XML cannot hold."""
    return "".join(char for char in one_line(text, 2_000) if char.isprintable())


def markdown(rows: Sequence[CheckRow]) -> str:
    """Return *rows* that are findings as a table in Markdown, for a comment or a summary."""
    found = _findings(rows)
    if not found:
        if not rows:
            return "There is no image id to check.\n"
        if beyond := sum(row.outcome == OUT_OF_SCOPE for row in rows):
            good = f"Good: {len(rows) - beyond} of {len(rows)} image ids and rules."
            return f"{good} Out of scope: {beyond}, as the history does not hold images of their kind.\n"
        return (
            f"{agreeing(len(rows), 'The one image id or rule is', f'All {len(rows)} image ids and rules are')} good.\n"
        )
    lines = [
        "| outcome | image | zone | change to | a change does | where |",
        "|---|---|---|---|---|---|",
    ]
    for row, _ in found:
        where = f"{_path(row) or row.source}{f':{row.line}' if row.line else ''}"
        named = f" {row.image_name}" if row.image_name else ""
        cells = (
            row.outcome,
            f"`{row.image_id}`{named}" if row.image_id else row.rule,
            row.zone or "",
            f"`{row.successor}`" if row.successor else "",
            EFFECTS_SAY[row.effect] if row.effect else "",
            f"{where} {row.address}" if row.address else where,
        )
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return one_line(text, 500).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


#: The formats by name, which `crawler.cli.check` knows without loading them.
FINDINGS: Mapping[str, Callable[[Sequence[CheckRow]], str]] = {
    "sarif": sarif, "github": github, "gitlab": gitlab, "junit": junit, "markdown": markdown,
}  # fmt: skip
