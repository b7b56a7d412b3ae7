"""`crawler check` at the command line: a gate with an exit code for each reason, which reads what other tools write."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from crawler.domain.models import Target
from tests.support.command import call, rows
from tests.support.diary import PERIOD, START, Diary, Images, Refusal, target
from tests.support.plans import executed

FIELDS = [
    "rule", "zone", "image_id", "outcome", "successor", "detail", "source", "file", "line", "address", "image_name",
    "account", "project", "observed_at", "effect",
    "cluster_id", "cluster_name", "node_group_id",
]  # fmt: skip
HK, SG, TH = target("hk-02"), target("sg-01"), target("th-01")


def listing(**names: str) -> Images:
    return {f"uimage-{letter}": name for letter, name in names.items()}


@pytest.fixture
def story(database_url: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Diary]:
    """Return a history in which every outcome happened."""
    monkeypatch.chdir(tmp_path)
    diary = Diary(engine)
    gpu: dict[str, Any] = {"ImageName": "CUDA", "NotSupportGPU": False}
    base = {**listing(a="Ubuntu", b="Debian", c="Rocky", d="SUSE", e="Alpine", f="Arch"), "uimage-g": gpu}
    diary.run({HK: base, SG: listing(a="Ubuntu"), TH: listing(z="Ubuntu")})
    diary.run({HK: {**base, "uimage-a2": "ubuntu"}, SG: listing(a="Ubuntu"), TH: Refusal(message="down")})
    without = {key: value for key, value in base.items() if key not in ("uimage-b", "uimage-d")}
    lost = {**without, "uimage-a2": "ubuntu", "uimage-b2": "Debian", "uimage-g": {**gpu, "NotSupportGPU": True}}
    diary.run({HK: lost, SG: listing(a="Ubuntu"), TH: Refusal(message="down")})
    return database_url, diary


RULES = """
[[require]]
name = "ubuntu"
zones = ["hk-*", "sg-01", "th-01"]

[[require]]
name = "SUSE"
zones = ["hk-02", "sg-01"]

[[require]]
name = "CUDA"
zones = "hk-02"
gpu = true

[[require]]
name = "CUDA"
zones = ["hk-02"]
variant = "g-v100"

[[pinned]]
zone = "hk-02"
ids = ["uimage-a", "uimage-a2", "uimage-b", "uimage-d", "uimage-g", "uimage-no"]

[[pinned]]
id = "uimage-a"
"""
EXPECTED = [
    ("require ubuntu", "hk-02", "uimage-a2", "ok", None),
    ("require ubuntu", "sg-01", "uimage-a", "ok", None),
    ("require ubuntu", "th-01", None, "unknown", None),
    ("require SUSE", "hk-02", None, "missing", None),
    ("require SUSE", "sg-01", None, "never-seen", None),
    ("require CUDA (gpu)", "hk-02", "uimage-g", "gpu-lost", None),
    ("require CUDA", "hk-02", None, "not-asked", None),
    ("pinned uimage-a", "hk-02", "uimage-a", "superseded", "uimage-a2"),
    ("pinned uimage-a2", "hk-02", "uimage-a2", "ok", None),
    ("pinned uimage-b", "hk-02", "uimage-b", "re-issued", "uimage-b2"),
    ("pinned uimage-d", "hk-02", "uimage-d", "missing", None),
    ("pinned uimage-g", "hk-02", "uimage-g", "gpu-lost", None),
    ("pinned uimage-no", "hk-02", "uimage-no", "never-seen", None),
    ("pinned uimage-a", "hk-02", "uimage-a", "superseded", "uimage-a2"),
    ("pinned uimage-a", "sg-01", "uimage-a", "ok", None),
]


def test_every_outcome(story: tuple[str, Diary]) -> None:
    """A rules file with every sort of rule has a row per rule and zone, with the outcome and the successor."""
    url, diary = story
    Path("rules.toml").write_text(RULES)
    found = rows("--database", url, "check", "rules.toml", now=diary.now, code=1)

    assert [list(row) for row in found] == [FIELDS] * len(found)
    assert [(r["rule"], r["zone"], r["image_id"], r["outcome"], r["successor"]) for r in found] == EXPECTED
    result = call("--database", url, "check", "rules.toml", now=diary.now, code=1)
    assert "11 rules: 4 ok, 2 superseded, 1 re-issued, 2 missing, 2 never-seen, 2 gpu-lost, 1 not-asked, 1 unk" in (
        result.stderr
    )


@pytest.mark.parametrize(
    ("ids", "later", "code", "outcomes"),
    [
        ("hk-02 uimage-a2", 0, 0, ["ok"]),
        ("uimage-a", 0, 0, ["superseded", "ok"]),
        ("hk-02 uimage-b\nhk-02 uimage-a", 0, 1, ["re-issued", "superseded"]),
        ("uimage-z", 0, 8, ["unknown"]),
        ("uimage-z\nhk-02 uimage-d", 0, 1, ["unknown", "missing"]),
        ("hk-02 uimage-a2", 27, 8, ["stale"]),
        ("sg-02 uimage-a", 0, 8, ["unknown"]),
    ],
)
def test_exit_codes(story: tuple[str, Diary], ids: str, later: int, code: int, outcomes: list[str]) -> None:
    """0 when all are ok or superseded, else 1, or 8 when nobody knows."""
    url, diary = story
    found = rows("--database", url, "check", "-", stdin=ids, now=diary.now + timedelta(hours=later), code=code)

    assert [row["outcome"] for row in found] == outcomes


def test_what_tools_write(story: tuple[str, Diary]) -> None:
    """A Terraform state by name, a Packer manifest, and ids on standard input are judged together with rules."""
    url, diary = story
    attributes = {"availability_zone": "hk-02", "image_id": "uimage-b"}
    state = {
        "version": 4,
        "resources": [{"type": "ucloud_instance", "name": "web", "instances": [{"attributes": attributes}]}],
    }
    Path("terraform.tfstate").write_text(json.dumps(state))
    Path("manifest.json").write_text(json.dumps({"builds": [{"artifact_id": "sg:uimage-a"}]}))
    Path("rules.toml").write_text('[[pinned]]\nid = "uimage-c"\n')
    files = ("terraform.tfstate", "manifest.json", "-", "rules.toml")
    found = rows("--database", url, "check", *files, stdin="uimage-a2\n", now=diary.now, code=1)

    assert [(row["zone"], row["image_id"], row["outcome"], row["source"]) for row in found] == [
        ("hk-02", "uimage-b", "re-issued", "terraform.tfstate, ucloud_instance.web"),
        ("sg-01", "uimage-a", "ok", "manifest.json, build 1"),
        ("hk-02", "uimage-a2", "ok", "stdin, line 1"),
        ("hk-02", "uimage-c", "ok", "rules.toml, pinned[1]"),
    ]
    assert rows("--database", url, "check", stdin="uimage-a2\n", now=diary.now) == [found[2]]


def test_selection(story: tuple[str, Diary]) -> None:
    """Options narrow the gate to some targets; rules about others are left out."""
    url, diary = story
    Path("rules.toml").write_text(RULES)
    words = ("--database", url, "check", "rules.toml", "--zone", "sg-*")

    assert [(row["rule"], row["outcome"]) for row in rows(*words, now=diary.now, code=1)] == [
        ("require ubuntu", "ok"),
        ("require SUSE", "never-seen"),
        ("pinned uimage-a", "ok"),
    ]
    assert "knows no zone 'mars'" in call(*words, "--zone", "mars", now=diary.now, code=2).stderr
    Path("rules.toml").write_text('[[require]]\nname = "Ubuntu"\nzones = ["hk-02", "sg-*", "!th-*"]\n')
    assert [row["zone"] for row in rows(*words, now=diary.now)] == ["sg-01"]
    Path("rules.toml").write_text('[[require]]\nname = "Ubuntu"\nzones = ["sg-*", "!sg-01"]\n')
    assert [row["zone"] for row in rows(*words, now=diary.now, code=8)] == [None]


def test_zones_where_another_kind_is_asked(story: tuple[str, Diary], engine: Engine) -> None:
    """
    A zone that the history knows by another kind alone does not pass a rule that names it.

    A rule about a region's versions, and one beside it, has no rows for the zones that only the other is about.
    """
    url, diary = story
    diary.run({HK: listing(a="Ubuntu"), target("kr-01"): listing(v="1.30"), target("my-01"): listing(w="Debian")})
    with engine.begin() as conn:
        conn.execute(text("UPDATE targets SET kind = 'uk8s-version', zone = '' WHERE zone = 'kr-01'"))
        conn.execute(text("UPDATE targets SET kind = 'uhost-image' WHERE zone = 'my-01'"))
    Path("rules.toml").write_text('[[require]]\nname = "Ubuntu"\nzones = ["hk-02", "my-01"]\n')
    found = rows("--database", url, "check", "rules.toml", now=diary.now, code=8)
    assert [(row["zone"], row["outcome"]) for row in found] == [("hk-02", "ok"), ("my-01", "not-asked")]

    (pin,) = rows("--database", url, "check", "-", stdin="my-01 uimage-a", now=diary.now, code=8)
    assert (pin["outcome"], pin["detail"]) == ("not-asked", "my-01 is not asked about such images")

    Path("rules.toml").write_text(
        '[[require]]\nname = "1.30"\nkind = "uk8s-version"\n[[require]]\nname = "Ubuntu"\nzones = "hk-*"\n'
    )
    found = rows("--database", url, "check", "rules.toml", now=diary.now)
    assert [(row["rule"], row["zone"], row["outcome"]) for row in found] == [
        ("require 1.30", "", "ok"),
        ("require Ubuntu", "hk-02", "ok"),
    ]


def test_required_versions(story: tuple[str, Diary]) -> None:
    """What has no name, as a version, is required by its id; what a region answers is told by the region."""
    url, diary = story
    hk, sg = (Target("prod", "org-x", region, "", "uk8s-version") for region in ("hk", "sg"))

    def versions(*names: str) -> dict[str, Any]:
        return {"RetCode": 0, "Action": "GetUK8SVersionsResponse", "Data": [{"K8sVersion": name} for name in names]}

    diary.run({HK: listing(a="Ubuntu"), hk: versions("1.28.15", "1.30.14"), sg: versions("1.26.7", "1.30.14")})
    diary.run({HK: listing(a="Ubuntu"), hk: versions("1.30.14"), sg: versions("1.26.7", "1.30.14")})
    words = ("1.30.14", "1.3*", "1.28.15", "1.28*", "1.26.7", "1.24.1")
    Path("rules.toml").write_text("".join(f'[[require]]\nname = "{word}"\nkind = "uk8s-version"\n' for word in words))
    found = rows("--database", url, "check", "rules.toml", now=diary.now, code=1)

    told = [(row["rule"].removeprefix("require "), row["image_id"], row["outcome"], row["detail"]) for row in found]
    gone = "was listed before, is not any more; region hk"
    assert told == [
        ("1.30.14", "1.30.14", "ok", ""),
        ("1.3*", "1.30.14", "ok", ""),
        ("1.28.15", None, "missing", gone),
        ("1.28.15", None, "never-seen", "was never listed here; region sg"),
        ("1.28*", None, "missing", gone),
        ("1.28*", None, "never-seen", "was never listed here; region sg"),
        ("1.26.7", None, "never-seen", "was never listed here; region hk"),
        ("1.26.7", "1.26.7", "ok", "region sg"),
        ("1.24.1", None, "never-seen", "was never listed here"),
    ]
    assert "require 1.30.14 " in call("--database", url, "check", "rules.toml", now=diary.now, code=1).stdout


def test_rules_are_judged_by_themselves(story: tuple[str, Diary], engine: Engine) -> None:
    """What a rule says is no matter of the rules beside it, whatever their kinds and whatever options leave out."""
    url, diary = story
    theirs = target("hk-02", project="org-y")
    diary.run({HK: listing(a="Ubuntu"), theirs: listing(v="Debian"), target("my-01"): listing(w="Debian")})
    with engine.begin() as conn:
        conn.execute(text("UPDATE targets SET kind = 'uhost-image' WHERE zone = 'my-01' OR project = 'org-y'"))
    policies = [
        '[[require]]\nname = "Ubuntu"\nzones = "hk-02"\n',
        '[[require]]\nname = "Ubuntu"\nzones = ["hk-*", "my-*"]\n',
        '[[pinned]]\nid = "uimage-a"\nzone = "my-01"\n',
        '[[pinned]]\nid = "uimage-a"\nvariant = "gpu"\nzone = "hk-02"\n',
        '[[require]]\nname = "Debian"\nkind = "uhost-image"\n',
    ]

    def found(policy: str, *words: str) -> list[tuple[str, ...]]:
        Path("rules.toml").write_text(policy)
        judged = rows("--database", url, "check", "rules.toml", *words, now=diary.now, code=None)
        return [(row["rule"], row["zone"] or "", row["outcome"]) for row in judged]

    for words in ((), ("--project", "org-y"), ("--project", "org-x"), ("--zone", "my-*")):
        alone = [row for policy in policies for row in found(policy, *words)]
        assert sorted(found("".join(policies), *words)) == sorted(alone)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[require]]\nname = "x"\nzones = ["hk-2"]\n',
            "require[1]: the history knows no zone 'hk-2'; did you mean hk-02?",
        ),
        ("[[require]]\n", "require[1].name: is missing"),
        ("nonsense", "is not TOML"),
        ("x = " + "[" * 9_000, "is nested too deeply"),
        ('[[require]]\nname = "\\u0000"\n', "require[1].name: must be a text in quotes"),
        ('[[pinned]]\nids = ["a\\u0000"]\n', "pinned[1].ids: must be a text or a list of texts"),
        (None, "rules.toml cannot be read: No such file or directory."),
    ],
)
def test_bad_rules(story: tuple[str, Diary], text: str | None, said: str) -> None:
    """Malformed rules are wrong usage, each problem with its place."""
    url, diary = story
    if text is not None:
        Path("rules.toml").write_text(text)
    result = call("--database", url, "check", "rules.toml", now=diary.now, code=2)

    assert result.stdout == ""
    assert said in result.stderr


def test_problems_of_several_files(story: tuple[str, Diary]) -> None:
    """What is wrong in several files is told at once."""
    url, diary = story
    Path("rules.toml").write_text("[[require]]\n")
    stderr = call("--database", url, "check", "rules.toml", "-", stdin='{"sekret', now=diary.now, code=2).stderr

    assert "require[1].name: is missing" in stderr or "stdin: 1 problem\n  is no JSON" in stderr
    Path("more.toml").write_text("[[pinned]]\n")
    stderr = call("--database", url, "check", "rules.toml", "more.toml", now=diary.now, code=2).stderr
    assert "require[1].name: is missing" in stderr
    assert "pinned[1].ids: is missing" in stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfeu", "- is not UTF-16 text (at byte 2)."),
        (b"uimage-\xff", "- is not UTF-8 text (at byte 7); save it as UTF-8."),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a":' * 100_000, "is nested too deeply"),
    ],
)
def test_what_is_no_text(story: tuple[str, Diary], content: bytes, said: str) -> None:
    """Whatever comes in is judged or refused in a sentence; nothing of it reaches the database unread."""
    url, diary = story
    assert said in call("--database", url, "check", "-", stdin=content, now=diary.now, code=2).stderr


def test_what_is_no_file(story: tuple[str, Diary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes to, a folder or an endless device in place of ids is said, and never waited for."""
    url, diary = story
    monkeypatch.setattr(import_module("crawler.cli.check_files"), "LARGEST", 2**20)
    os.mkfifo(tmp_path / "pipe")
    assert (
        "- is larger than 1 MB."
        in call("--database", url, "check", "-", stdin=b"#" * (2**20 + 1), now=diary.now, code=2).stderr
    )
    for name, said in (
        (tmp_path / "pipe", "is a pipe from which nothing came."),
        ("/dev/zero", "is larger than 1 MB."),
        ("x" * 300, "cannot be read: File name too long."),
    ):
        stderr = call("--database", url, "check", name, now=diary.now, code=2).stderr
        assert stderr == f"Error: {name} {said}\n"


def test_ids_through_a_pipe(story: tuple[str, Diary], tmp_path: Path) -> None:
    """What a tool writes into a pipe, as in `check <(…)`, is read to its end."""
    url, diary = story
    reading, writing = os.pipe()
    os.write(writing, b"hk-02 uimage-c\n")
    os.close(writing)
    call("--database", url, "check", f"/dev/fd/{reading}", now=diary.now)
    os.close(reading)


@pytest.mark.parametrize("name", ["-", "policy.txt", "POLICY.TOML"])
def test_rules_by_another_name(story: tuple[str, Diary], name: str) -> None:
    """A policy is known by what it says as well, so it may come through a pipe."""
    url, diary = story
    policy = '# ours\n[[require]]\nname = "SUSE"\n'
    if name != "-":
        Path(name).write_text(policy)
    (row,) = rows("--database", url, "check", name, "--zone", "hk-02", stdin=policy, now=diary.now, code=1)

    assert (row["rule"], row["outcome"]) == ("require SUSE", "missing")


def test_misspelt_zone_of_an_id(story: tuple[str, Diary]) -> None:
    """An id in a zone that the history never heard of is unknown; the nearest zone is named."""
    (row,) = rows("--database", story[0], "check", "-", stdin="hk-2 uimage-a", now=story[1].now, code=8)

    assert (row["outcome"], row["detail"]) == ("unknown", "the history knows no zone hk-2; the nearest: hk-02")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"# none\n", b"\x7fELF\x02\x01\0\0", b'["uimage-a\\u0000", "\\ud800"]']
)
def test_no_ids(story: tuple[str, Diary], content: bytes) -> None:
    """A file without ids is fine, and said on stderr; none of it is shown."""
    result = call("--database", story[0], "check", "-", "-o", "json", stdin=content)

    assert (result.stdout, result.stderr) == ("[]\n", "stdin holds no image id.\n")


def test_nothing_recorded(sqlite_url: str) -> None:
    """A history without a run knows nothing yet."""
    assert "Nothing is recorded yet" in call("--database", sqlite_url, "check", "-", stdin="uimage-a", code=8).stderr


def test_number_of_statements(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of statements does not follow the number of rules."""
    monkeypatch.chdir(tmp_path)
    diary = Diary(engine)
    zones = [target(f"hk-{number:02}") for number in range(10)]
    diary.run({zone: {f"uimage-{n}": f"Image {n}" for n in range(40)} for zone in zones})
    diary.run({zone: {f"uimage-{n}": f"Image {n}" for n in range(5, 40)} for zone in zones}, at=START + 9 * PERIOD)
    Path("few.txt").write_text("uimage-1\nhk-01 uimage-30\n")
    Path("many.txt").write_text("".join(f"uimage-{n}\nhk-0{n % 10} uimage-{n}\n" for n in range(40)))
    counts = []
    for name in ("few.txt", "many.txt"):
        with executed() as asked:
            call("--database", database_url, "check", name, now=diary.now, code=1)
        counts.append(len(asked))
    assert counts[1] == counts[0] <= 40


def test_details_tell_times_as_their_format_does(story: tuple[str, Diary]) -> None:
    """A table tells them in the configured zone, JSON in UTC; both name the zone."""
    url, diary = story
    Path("ids.txt").write_text("hk-02 uimage-d\n")
    words = ("--database", url, "check", "ids.txt")
    wide = call(*words, "--wide", now=diary.now, code=1).stdout
    (row,) = json.loads(call(*words, "-o", "json", now=diary.now, code=1).stdout)

    assert row["detail"] == "SUSE was withdrawn after 2026-06-01 00:30:01 and by 2026-06-01 00:45:01 (UTC)"
    assert "SUSE was withdrawn after 2026-06-01 08:30:01 and by 2026-06-01 08:45:01 (Asia/Shanghai)" in wide
