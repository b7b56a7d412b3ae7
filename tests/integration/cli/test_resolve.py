"""`crawler resolve` at the command line: for a person, for Packer, for Terraform; never an id that was not listed."""

from __future__ import annotations

import json
import os
import pty
import random
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine

from crawler.cli.resolve import read_query
from crawler.db.engine import opened, read
from crawler.db.last_observation import present
from crawler.errors import CrawlerError
from crawler.queries import images as queries_images
from crawler.queries import status as queries_status
from crawler.queries.resolve import resolve
from tests.support.command import ROOT, call
from tests.support.diary import START, Answer, Diary, Images, Refusal, target
from tests.support.plans import executed

HERE, THERE = target("hk-02"), target("hk-02", project="org-y")
NAMES = ("Ubuntu 20.04", "CentOS 7.6")


@pytest.fixture
def url(database_url: str, engine: Engine, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a history in which a new Ubuntu came beside the old one, in one of two projects."""
    monkeypatch.chdir(tmp_path)
    diary = Diary(engine)
    both: Images = {"uimage-a": "Ubuntu 20.04", "uimage-c": "CentOS 7.6"}
    diary.run({HERE: both, THERE: both, target("hk-01"): both})
    diary.run({HERE: {**both, "uimage-b": "ubuntu 20.04"}, THERE: both})
    return database_url


NOW = START + timedelta(hours=1)


def ask(url: str, *words: object, code: int | None = 0, **more: Any) -> Result:
    return call("--database", url, "resolve", *words, code=code, now=NOW, **more)


def test_a_clock_that_is_behind(url: str) -> None:
    """What was recorded has happened: a machine a minute behind gets the same id, and one far behind is told so."""
    words = ("--database", url, "resolve", "--zone", "hk-02", "--project", "org-x", "--name", "Ubuntu 20.04")
    with opened(url, read_only=True) as engine, read(engine) as conn:
        latest = present(conn, START)
    found = [call(*words, now=latest - timedelta(seconds=late)).stdout for late in (0, 1, 60, 299)]
    refused = call(*words, now=latest - timedelta(days=2), code=8)

    assert len(set(found)) == 1
    assert "set the clock right" in refused.stderr


def test_formats(url: str) -> None:
    """The id alone, the JSON of the contract, and flat strings for Packer and Terraform."""
    words = ("--zone", "hk-02", "--project", "org-x", "--name", "UBUNTU 20.04")
    document = json.loads(ask(url, *words, "-o", "json").stdout)

    assert ask(url, *words).stdout == "uimage-b\n"
    assert list(document) == ["image_id", "image_name", "region", "zone", "observed_at"]
    assert (document["image_id"], document["region"], document["zone"]) == ("uimage-b", "hk", "hk-02")
    for shape in ("packer", "terraform"):
        flat = json.loads(ask(url, *words, "-o", shape).stdout)
        assert flat == document
        assert all(isinstance(value, str) for value in flat.values())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("--zone", "hk-02", "--name", "Debian"),
            1,
            "No image called 'Debian' was listed in hk-02 at 2026-06-01 08:30:05 (Asia/Shanghai)",
        ),
        (("--zone", "hk-01", "--name", "Ubuntu 20.4"), 1, "; the nearest: Ubuntu 20.04."),
        (("--zone", "hk-01", "--name", "CentOS 7.6", "--gpu"), 8, "does not state whether"),
        (("--zone", "hk-2", "--name", "x"), 2, "The history knows no zone 'hk-2'; the nearest: hk-02"),
        (("--zone", "hk-01", "--project", "org-y", "--name", "x"), 2, "No target fits --project org-y --zone hk-01"),
        (("--zone", "hk-01", "--variant", "default", "--name", ""), 2, "--name is missing"),
        (("--name", "x"), 2, "--zone is missing"),
        ((), 2, "--zone and --name is missing"),
        (
            ("--zone", "hk-02", "--name", "Ubuntu 20.04"),
            7,
            "(org-x: uimage-b, org-y: uimage-a); choose with --project.",
        ),
        (("--zone", "hk-0*", "--name", "CentOS 7.6"), 7, "Several zones fit: hk-01, hk-02"),
        (("--zone", "hk-02", "--name", "CentOS 7.6", "--max-age", "10m"), 8, "longer ago than 10m"),
        (("--zone", "hk-02", "--name", "CentOS 7.6", "--max-age", "0s"), 8, "longer ago than 0s"),
        (("--zone", "hk-02", "--name", "CentOS 7.6", "--max-age", "soon"), 2, "'soon' is no duration"),
        (
            ("--zone", "hk-01", "--name", "CentOS 7.6", "--image-set", "PHost*"),
            1,
            "The history knows no image set 'PHost*'; known: ImageSet.",
        ),
    ],
)
def test_refusals(url: str, words: tuple[str, ...], code: int, said: str) -> None:
    """A refusal prints nothing, says one sentence, and has the exit code of its reason."""
    result = ask(url, *words, code=code)

    assert result.stdout == ""
    assert said in result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")] == [
        result.stderr.splitlines()[-1]
    ]


def test_nothing_recorded(sqlite_url: str) -> None:
    """A history without a run knows nothing yet."""
    assert "Nothing is recorded yet" in ask(sqlite_url, "--zone", "hk-02", "--name", "x", code=8).stderr


def test_only_another_variant(engine: Engine, database_url: str) -> None:
    """A zone that is asked with another variant only says which."""
    Diary(engine).run({HERE._replace(variant="g-v100"): {"uimage-a": "Ubuntu 20.04"}})
    words = ("--zone", "hk-02", "--name", "Ubuntu 20.04")

    assert "It is asked with the variant g-v100." in ask(database_url, *words, code=2).stderr
    assert ask(database_url, *words, "--variant", "g-*").stdout == "uimage-a\n"


def test_failed_since(engine: Engine, database_url: str) -> None:
    """An answer from before a failure is given with a warning."""
    diary = Diary(engine)
    diary.run({HERE: {"uimage-a": "Ubuntu 20.04"}})
    diary.run({HERE: Refusal(message="backend error")})
    result = ask(database_url, "--zone", "hk-02", "--name", "Ubuntu 20.04")

    assert result.stdout == "uimage-a\n"
    assert (
        result.stderr
        == "Warning: hk-02 was not observed well since 2026-06-01 08:15:03 (Asia/Shanghai): backend error\n"
    )


@pytest.mark.parametrize("shape", ["id", "json", "packer", "terraform"])
def test_harmless(engine: Engine, database_url: str, shape: str) -> None:
    """Nothing that a cloud calls an image, or says when it fails, is obeyed by a terminal; JSON carries it exactly."""
    diary, words = Diary(engine), ("--zone", "hk-02", "-o", shape, "--name")
    diary.run({HERE: {"uimage-\x1b[2J": "a\u202eb\x9b", "uimage-\x1b1": "c", "uimage-\x1b2": "c"}})
    diary.run({HERE: Refusal(message="\x1b]0;owned\x07")})
    one, several = ask(database_url, *words, "a\u202eb\x9b"), ask(database_url, *words, "c", code=7)

    assert "".join((one.stdout, one.stderr, several.stderr)).replace("\n", "").isprintable()
    if shape != "id":
        document = json.loads(one.stdout)
        assert (document["image_id"], document["image_name"]) == ("uimage-\x1b[2J", "a\u202eb\x9b")


QUERY = {"zone": "hk-02", "project": "org-x", "name": "Ubuntu 20.04"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_query_with_a_mark(encoding: str) -> None:
    """A byte order mark tells how the query is written."""
    reading, writing = os.pipe()
    os.write(writing, json.dumps(QUERY).encode(encoding))
    os.close(writing)
    with os.fdopen(reading) as stdin:
        assert read_query(stdin, 10) == QUERY


def test_terraform_query(url: str) -> None:
    """Terraform's query says what the options do not; options win."""

    def answer(query: dict[str, str], *words: object) -> Any:
        return json.loads(ask(url, "-o", "terraform", *words, stdin=json.dumps(query)).stdout)["image_id"]

    assert answer(QUERY) == "uimage-b"
    assert answer(QUERY, "--project", "org-y") == "uimage-a"
    assert answer({**QUERY, "gpu": "false", "max_age": "2h", "image_set": "ImageSet"}) == "uimage-b"
    assert answer({}, "--zone", "hk-01", "--name", "Ubuntu 20.04") == "uimage-a"
    assert ask(url, "-o", "terraform", stdin="\ufeff" + json.dumps(QUERY)).stdout, "a byte order mark is no harm"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 2, "--zone and --name is missing"),
        ("{", 2, "The query on standard input is no JSON."),
        ("[" * 100_000, 2, "The query on standard input is no JSON."),
        (json.dumps({**QUERY, "zone": "\0"}), 2, "The history knows no zone '\\x00'"),
        (json.dumps({**QUERY, "name": "\0\ud800"}), 1, "No image called '\\x00\\ud800'"),
        ("[]", 2, "must be a JSON object whose values are strings"),
        ('{"zone": 1}', 2, "must be a JSON object whose values are strings"),
        ('{"zon": "hk-02"}', 2, "'zon', did you mean zone. Known: account, project,"),
        (json.dumps({**QUERY, "gpu": "maybe"}), 2, "gpu is 'maybe' in the query"),
        (json.dumps({**QUERY, "max_age": "old"}), 2, "max_age: 'old' is no duration"),
        (json.dumps({**QUERY, "name": "Debian"}), 1, "No image called 'Debian'"),
        (json.dumps({**QUERY, "zone": "hk-2", "region": "mars"}), 2, "'mars'; known: hk; The history knows no zone"),
        (json.dumps({**QUERY, "max_age": "1m"}), 8, "longer ago than 1m"),
        (json.dumps({**QUERY, "project": "*"}), 7, "choose with --project"),
    ],
)
def test_terraform_refusals(url: str, text: str, code: int, said: str) -> None:
    """A refusal is one sentence on stderr, which Terraform shows, and nothing on stdout."""
    result = ask(url, "-o", "terraform", stdin=text, code=code)

    assert result.stdout == ""
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_pipe_that_never_ends(sqlite_url: str) -> None:
    """Whatever is poured in without an end is refused soon, not read as long as it comes."""
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as pouring:
        result = subprocess.run(
            [sys.executable, "-m", "crawler", "--database", sqlite_url, "resolve", "-o", "terraform"],
            env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONPATH": str(ROOT)},
            stdin=pouring.stdout,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        pouring.kill()

    assert (result.returncode, result.stderr) == (
        2,
        "Error: What stands on standard input is far too long for a query.\n",
    )


def test_other_formats_read_no_query(url: str) -> None:
    """Only Terraform's protocol looks at standard input."""
    words = ("--zone", "hk-01", "--name", "Ubuntu 20.04")

    assert ask(url, *words, stdin='{"name": "CentOS 7.6"}').stdout == "uimage-a\n"


def test_a_pipe_that_nobody_feeds(sqlite_url: str) -> None:
    """Where the options say everything, a pipe without data is not waited for; a terminal never is."""
    with_all = ("--zone", "hk-02", "--name", "x")
    reading, writing = os.pipe()
    ours, theirs = pty.openpty()
    try:
        for stdin, words in ((reading, with_all), (theirs, with_all), (theirs, ())):
            result = subprocess.run(
                [sys.executable, "-m", "crawler", "--database", sqlite_url, "resolve", "-o", "terraform", *words],
                env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONPATH": str(ROOT)},
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert (result.returncode, result.stdout) == (8 if words else 2, "")
    finally:
        for descriptor in (reading, writing, ours, theirs):
            os.close(descriptor)


@pytest.mark.parametrize("seed", range(3))
def test_never_an_id_that_was_not_listed(engine: Engine, seed: int) -> None:
    """Whatever happens, what is printed was listed by the last good answer, which is not older than --max-age."""
    rng = random.Random(seed)
    diary = Diary(engine)
    ids = [f"uimage-{letter}" for letter in "abcdef"]
    listed: dict[str, str] = {}
    good_at = None
    answered = 0
    for _ in range(40):
        diary.now += timedelta(minutes=rng.choice([15, 15, 15, 600]))
        answer: Answer = Refusal()
        if rng.random() < 0.75:
            answer = {image_id: rng.choice(NAMES) for image_id in rng.sample(ids, rng.choice([0, 1, 3, 4]))}
        again = {HERE: dict(answer)} if not isinstance(answer, Refusal) else None
        diary.run({HERE: answer}, again=again)
        if not isinstance(answer, Refusal):
            listed, good_at = dict(answer), diary.now
        now = diary.now + timedelta(minutes=rng.choice([0, 30]))
        max_age = timedelta(minutes=rng.choice([20, 700]))
        with read(engine) as conn:
            status = queries_status.status(conn, now=now)
            images = list(
                queries_images.images(conn, None, now=now, stale_after=timedelta(hours=1), include_retired=True)
            )
        for name in NAMES:
            try:
                found = resolve(status, images, name, now=now, max_age=max_age)
            except CrawlerError:
                continue
            answered += 1
            assert listed[found.image_id] == name
            assert good_at is not None
            assert found.observed_at == good_at >= now - max_age
    assert answered > 5


# --- many at once ----------------------------------------------------------------------------------------------------


def test_lines_of_standard_input(url: str) -> None:
    """`resolve -` answers every line `ZONE NAME`, in their order, as it would alone; 0 only when all are found."""
    lines = "hk-02 UBUNTU 20.04\n\n  hk-02\tCentOS 7.6 \nhk-09 CentOS 7.6\nhk-02 Debian 12\nHK-02 ubuntu20.04\n"
    words = ("-", "--project", "org-x")
    result = ask(url, *words, "-o", "json", stdin=lines, code=1)
    rows = json.loads(result.stdout)

    assert [list(row) for row in rows] == [["zone", "name", "image_id", "outcome"]] * 5
    assert [(row["image_id"], row["outcome"]) for row in rows] == [
        ("uimage-b", "found"),
        ("uimage-c", "found"),
        (None, "unheard"),
        (None, "missing"),
        ("uimage-b", "found"),
    ]
    assert result.stderr.startswith("hk-09 CentOS 7.6: No target fits")
    assert ask(url, *words, stdin=lines, code=1).stdout == "uimage-b\nuimage-c\n\n\nuimage-b\n"
    assert ask(url, *words, "-o", "jsonl", stdin="hk-02 CentOS 7.6").stdout.count("\n") == 1
    nothing = ask(url, *words, "-o", "csv", stdin="")
    assert nothing.stdout == "zone,name,image_id,outcome\n"
    assert nothing.stderr == "Standard input has no lines `ZONE NAME`.\n"
    later = call("--database", url, "resolve", "-", now=START + timedelta(days=9), code=8, stdin="hk-02 CentOS 7.6")
    assert later.stdout == "\n"
    assert ask(url, "-", stdin="hk-02 Ubuntu 20.04", code=7).stdout == "\n", "two projects differ"


def test_lines_about_a_zone_that_failed_since(engine: Engine, database_url: str) -> None:
    """What `resolve` warns of for one name, `resolve -` warns of as well: once for all the lines about a zone."""
    diary = Diary(engine)
    both = {HERE: {"uimage-a": "Ubuntu 20.04", "uimage-b": "CentOS 7.6"}, target("hk-03"): {"uimage-c": "Ubuntu 20.04"}}
    diary.run(both)
    diary.run({**both, HERE: Refusal(message="backend error")})
    alone = ask(database_url, "--zone", "hk-02", "--name", "Ubuntu 20.04")
    lines = ask(database_url, "-", stdin="hk-02 Ubuntu 20.04\nhk-02 CentOS 7.6\nhk-03 Ubuntu 20.04\n")

    assert lines.stdout == "uimage-a\nuimage-b\nuimage-c\n"
    assert lines.stderr == alone.stderr
    assert lines.stderr.startswith("Warning: hk-02 was not observed well since")


@pytest.mark.parametrize(
    ("words", "lines", "sentence"),
    [
        (("-", "--zone", "hk-02"), "", "With - zones and names come from standard input"),
        (("-", "-o", "packer"), "", "With - zones and names come from standard input"),
        (("lines.txt",), "", "With - zones and names come from standard input"),
        (("-o", "csv"), "", "-o csv is for many answers"),
        (("-",), "hk-02 A\nhk-02\n", "Line 2 of standard input has no name"),
    ],
)
def test_lines_that_are_none(url: str, words: tuple[str, ...], lines: str, sentence: str) -> None:
    """What cannot be meant with `-` is one sentence, and exit 2."""
    assert sentence in ask(url, *words, code=2, stdin=lines).stderr


def test_a_line_leaves_nothing_out_of_another(url: str) -> None:
    """A zone or a name behind `!` is one line's own matter; the others are answered as they are by themselves."""
    lines = "hk-02 CentOS 7.6\n!hk-02 Ubuntu 20.04\nhk-02 !CentOS 7.6\n"

    assert ask(url, "-", "--project", "org-x", stdin=lines, code=1).stdout == "uimage-c\nuimage-a\n\n"


def test_lines_that_no_database_can_hold(url: str) -> None:
    """A zone or name with a NUL is none that was ever recorded, and keeps no other line from its answer."""
    lines = "hk\0-02 CentOS 7.6\nhk-02 Cent\0OS 7.6\nhk-02 CentOS 7.6\n"
    rows = json.loads(ask(url, "-", "--project", "org-x", "-o", "json", stdin=lines, code=1).stdout)

    assert [row["outcome"] for row in rows] == ["unheard", "missing", "found"]


def test_many_lines_ask_as_many_statements_as_few(url: str) -> None:
    """Fifty lines are answered by the same statements as two: what a line costs is no question to the database."""
    lines = ["hk-02 CentOS 7.6", "hk-01 Ubuntu 20.04"]

    def count(lines: list[str]) -> int:
        with executed() as asked:
            ask(url, "-", stdin="\n".join(lines))
        return len(asked)

    assert count(lines) == count(lines * 25) <= 30
