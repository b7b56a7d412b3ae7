"""Findings as other tools read them: each format as its schema has it, with nothing that could end a line or a cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft7Validator

from crawler.cli.check_formats import FINDINGS, github, gitlab, junit, markdown, sarif
from crawler.domain.scanner import FoundPin
from crawler.queries.check.rules import OUTCOMES, CheckOutcome, CheckRow
from tests.support.house import ROOT, text_of


def schema(name: str) -> Draft7Validator:
    return Draft7Validator(json.loads(text_of(Path("tests/support/schemas") / name)))


def finding(outcome: CheckOutcome, **more: Any) -> CheckRow:
    place = FoundPin(image_id="uimage-a", zone="hk-02", line=3, column=12, at=40, address="t.n", effect="later-nodes")
    known: dict[str, Any] = {
        "rule": "pinned uimage-a", "zone": "hk-02", "image_id": "uimage-a", "image_name": "Ubuntu | 20.04",
        "successor": "uimage-b", "detail": "gone: 100%,\nsurely <b>", "file": "infra/a, b:c.tf", "line": 3,
        "address": "t.n", "effect": "later-nodes", "place": place,
    }  # fmt: skip
    return CheckRow(outcome=outcome, **{**known, **more})


ROWS = [finding(outcome) for outcome in OUTCOMES]
BARE = CheckRow(rule="require Ubuntu", zone=None, image_id=None, outcome="not-asked", source="stdin, require[1]")


def test_sarif() -> None:
    """A log fits the published schema; each outcome has its level, and the place of the id is marked to its end."""
    log = json.loads(sarif([*ROWS, BARE]))
    schema("sarif-2.1.0.json").validate(log)
    (run,) = log["runs"]
    levels = {result["ruleId"]: result["level"] for result in run["results"]}

    assert levels == {
        "superseded": "note", "ending": "warning", "re-issued": "error", "ambiguous": "error", "missing": "error",
        "never-seen": "error", "gpu-lost": "error", "revoked": "error", "not-asked": "warning", "unknown": "warning",
        "stale": "warning",
    }  # fmt: skip
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == levels.keys()
    told = {rule["id"]: rule["shortDescription"]["text"] for rule in run["tool"]["driver"]["rules"]}
    assert told["gpu-lost"] == "The image does not support GPU."
    assert told["ending"] == "The maintenance of the image ends within 90 days, or is over."
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "infra/a%2C%20b%3Ac.tf"
    assert place["region"] == {"startLine": 3, "startColumn": 12, "endColumn": 20}
    assert all(len(result["locations"]) == 1 for result in run["results"])  # GitHub refuses others, and all with them
    place = run["results"][-1]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "stdin"}, "region": {"startLine": 1}}


def test_names_that_are_no_text() -> None:
    """A file whose name is not UTF-8 has findings in every format; a URI has its bytes."""
    rows = [finding("missing", file="a/n\udcff.tf")]

    for fmt, made in FINDINGS.items():
        assert made(rows).encode("utf-8", "surrogateescape"), fmt
    log = json.loads(sarif(rows))
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a/n%FF.tf"


def test_fingerprints() -> None:
    """A finding keeps its fingerprint when its line moves, and no two findings share one."""

    def prints(rows: list[CheckRow]) -> list[str]:
        results = json.loads(sarif(rows))["runs"][0]["results"]
        return [result["partialFingerprints"]["pin/v1"] for result in results]

    assert prints([finding("missing", line=9)]) == prints([finding("missing")])
    assert len(set(prints([*ROWS, BARE]))) == len(prints([*ROWS, BARE]))
    twice = [finding("missing", line=line, address=None) for line in (3, 8)]
    assert len(set(prints(twice))) == 2
    assert [one["fingerprint"] for one in json.loads(gitlab(twice))] == prints(twice)
    assert prints(twice)[0] == prints(twice[1:])[0]


def test_github() -> None:
    """An annotation is one line, whatever the names are; commas and colons of a path are escaped."""
    lines = github([*ROWS, BARE]).splitlines()

    assert len(lines) == len(OUTCOMES) - 1
    assert lines[0].startswith(
        "::notice file=infra/a%2C b%3Ac.tf,line=3,col=12,title=uimage-a is superseded::uimage-a ("
    )
    assert "100%25" in lines[0]
    assert lines[2].startswith("::error file=")
    assert lines[-1] == "::warning title=require Ubuntu is not-asked::require Ubuntu is not-asked."


def test_gitlab() -> None:
    """A report has the members that GitLab wants, and no others; what stands in no file is said of the folder."""
    report = json.loads(gitlab([*ROWS, BARE]))
    wanted = {"description", "check_name", "fingerprint", "severity", "location"}

    assert all(issue.keys() == wanted for issue in report)
    assert {issue["severity"] for issue in report} == {"info", "minor", "major"}
    assert report[0]["location"] == {"path": "infra/a, b:c.tf", "lines": {"begin": 3}}
    assert len({issue["fingerprint"] for issue in report}) == len(report)
    assert report[-1]["location"] == {"path": ".", "lines": {"begin": 1}}


def test_junit() -> None:
    """A suite for each file; what is bad failed, what nobody knows is an error, what is out of scope was skipped."""
    root = ElementTree.fromstring(junit([*ROWS, BARE, finding("missing", detail="\x00\x1b[31m\ud800 end")]))
    suites = {suite.get("name"): suite for suite in root}

    assert suites.keys() == {"infra/a, b:c.tf", "crawler check"}
    first = suites["infra/a, b:c.tf"]
    assert [first.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["14", "7", "3", "1"]
    assert len(root.findall(".//failure")) == 7
    assert len(root.findall(".//error")) == 4
    assert len(root.findall(".//skipped")) == 1


def test_names_of_tests() -> None:
    """No two tests of a report share name and class, of which GitLab would show the first alone."""
    rows = [finding("ok", project="org-a"), finding("missing", project="org-b"), finding("missing", file="infra/d.tf")]
    cases = ElementTree.fromstring(junit(rows)).findall(".//testcase")

    assert [(case.get("name"), case.get("classname")) for case in cases] == [
        ("pinned uimage-a in hk-02, line 3", "t.n"),
        ("pinned uimage-a in hk-02, line 3 (2)", "t.n"),
        ("pinned uimage-a in hk-02, line 3 (3)", "t.n"),
    ]


def test_markdown() -> None:
    """A table with a row for each finding; names break no cell. What is out of scope is no finding, and not good."""
    lines = markdown([*ROWS, BARE]).splitlines()

    assert lines[2] == (
        "| superseded | `uimage-a` Ubuntu \\| 20.04 | hk-02 | `uimage-b` | only later nodes use it "
        "| infra/a, b:c.tf:3 t.n |"
    )
    assert len(lines) == 2 + len(OUTCOMES) - 1
    assert markdown([]) == "There is no image id to check.\n"
    assert markdown([finding("ok")]) == "The one image id or rule is good.\n"
    assert markdown([finding("ok")] * 2) == "All 2 image ids and rules are good.\n"
    assert markdown([finding("ok"), finding("out-of-scope")]) == (
        "Good: 1 of 2 image ids and rules. Out of scope: 1, as the history does not hold images of their kind.\n"
    )


@pytest.mark.parametrize("name", sorted(FINDINGS))
def test_no_findings(name: str) -> None:
    """Nothing found is a whole report too."""
    said = FINDINGS[name]([])

    assert said or name == "github"
    if name in ("sarif", "gitlab"):
        json.loads(said)


def test_paths_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute path in the present folder is told as the checkout has it."""
    monkeypatch.chdir(ROOT)
    (row,) = json.loads(gitlab([finding("missing", file=str(ROOT / "docs" / "x.tf"))]))

    assert row["location"]["path"] == "docs/x.tf"
