"""`crawler check --fix`: only ids change, only where the successor is certain, and never a half-written file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.cli import check_fix
from crawler.cli.check_files import PinFile
from crawler.db.engine import opened
from crawler.errors import CrawlerError
from tests.support.checkout import HK, POOL
from tests.support.checkout import story as story
from tests.support.command import call
from tests.support.diary import Diary, Refusal, target
from tests.support.house import ROOT

CORPUS = ROOT / "tests/unit/domain/scanner/corpus"
PLANTED = "pl4nted-s3cret"
CLUSTER = POOL.replace("ucloud_uk8s_node_group", "ucloud_uk8s_cluster").replace(
    "  image_id", "  worker {\n    image_id"
)


def check(story: tuple[str, Diary], *words: str, code: int = 0) -> str:
    result = call("--database", story[0], "check", *words, now=story[1].now, code=code)
    return result.stdout + result.stderr


@pytest.mark.parametrize("image_id", ["uimage-a", "uimage-r"])
def test_id_alone(story: tuple[str, Diary], image_id: str) -> None:
    """The id of a re-issued and of a superseded image changes, and nothing else: ends of lines, mark, mode, blanks."""
    text = (POOL % image_id).replace("\n", "\r\n") + '\t# uimage-a in a comment\r\n  x = "ümlaut"   \r\n'
    body = b"\xef\xbb\xbf" + text.encode()
    Path("pool.tf").write_bytes(body)
    Path("pool.tf").chmod(0o640)
    said = check(story, "pool.tf", "--fix")
    new = {"uimage-a": b"uimage-b", "uimage-r": b"uimage-r2"}[image_id]

    assert Path("pool.tf").read_bytes() == body.replace(b'"' + image_id.encode() + b'"', b'"' + new + b'"')
    assert Path("pool.tf").stat().st_mode & 0o777 == 0o640
    assert "Ids fixed: 1, files: 1." in said
    assert list(Path().iterdir()) == [Path("pool.tf")]
    before = Path("pool.tf").stat()
    assert "Ids fixed: 0, files: 0." in check(story, "pool.tf", "--fix")
    assert Path("pool.tf").stat() == before


def test_anchor_of_two_effects(story: tuple[str, Diary]) -> None:
    """An id that a machine uses as well as a build, by an anchor, is not changed for the sake of the build alone."""
    text = "build: {zone: hk-02, source_image_id: &i uimage-a}\nmachine: {zone: hk-02, image_id: *i}\n"
    Path("a.yaml").write_text(text)

    assert "the effect of that is unknown; --effect unknown allows it" in check(story, "a.yaml", "--fix", code=1)
    assert Path("a.yaml").read_text() == text
    check(story, "a.yaml", "--fix", "--effect", "unknown")
    assert Path("a.yaml").read_text() == text.replace("uimage-a", "uimage-b")


def test_zones_that_are_left_out(story: tuple[str, Diary]) -> None:
    """An id that stands for two zones is not changed by what one of them needs where the selection hides the other."""
    text = "new: {zone: hk-02, source_image_id: &i uimage-a}\nold: {zone: sg-01, source_image_id: *i}\n"
    Path("a.yaml").write_text(text)

    said = "a.yaml, line 1: uimage-a is not fixed: it is for sg-01 as well, which the selection leaves out."
    assert said in check(story, "a.yaml", "--fix", "--zone", "HK-02", code=1)
    assert Path("a.yaml").read_text() == text
    Path("a.tf").write_text(POOL % "uimage-a")
    check(story, "a.tf", "--fix", "--zone", "HK-02")
    assert Path("a.tf").read_text() == POOL % "uimage-b"


def test_exit_code_of_what_is_left(story: tuple[str, Diary]) -> None:
    """What could not be fixed decides the exit code; the rows tell how things are then."""
    Path("a.tf").write_text(POOL % "uimage-a" + POOL % "uimage-d")
    result = call("--database", story[0], "check", "a.tf", "--fix", "-o", "json", now=story[1].now, code=1)

    assert [(row["image_id"], row["outcome"]) for row in json.loads(result.stdout)] == [
        ("uimage-b", "ok"),
        ("uimage-d", "missing"),
    ]


def test_diff(story: tuple[str, Diary]) -> None:
    """--diff prints the change, which `git apply` takes, and writes nothing; the exit code is that of the file."""
    Path("pool.tf").write_text(POOL % "uimage-a")
    result = call("--database", story[0], "check", "pool.tf", "--diff", now=story[1].now, code=1)

    assert Path("pool.tf").read_text() == POOL % "uimage-a"
    assert result.stdout.splitlines()[:3] == ["--- a/pool.tf", "+++ b/pool.tf", "@@ -4 +4 @@"]
    subprocess.run(["git", "apply", "--unidiff-zero"], input=result.stdout, text=True, check=True)
    assert Path("pool.tf").read_text() == POOL % "uimage-b"


@pytest.mark.parametrize(
    "body",
    [
        POOL.replace("\n", "\r\n").encode(),  # as Windows ends lines
        POOL.rstrip("}\n").encode(),  # the last line has no end
        b'\xef\xbb\xbfimage_id = "%s" # ucloud-image: hk-02/ubuntu-20.04\r\n',
    ],
)
def test_diff_of_other_ends_of_lines(story: tuple[str, Diary], body: bytes) -> None:
    """The change of a file is that of its bytes, however its lines end: `git apply` makes what --fix would make."""
    Path("pool.tfvars").write_bytes(body.replace(b"%s", b"uimage-a"))
    result = call(
        "--database", story[0], "check", "pool.tfvars", "--diff", "--effect", "unknown", now=story[1].now, code=1
    )
    subprocess.run(["git", "apply", "--unidiff-zero"], input=result.stdout_bytes, check=True)

    assert Path("pool.tfvars").read_bytes() == body.replace(b"%s", b"uimage-b")


def test_diff_of_a_stack(story: tuple[str, Diary]) -> None:
    """A key of Pulumi's, which has the project before it, is shown whole as any other."""
    text = "config:\n  infra:zone: hk-02\n  infra:imageId: uimage-a\n"
    Path("Pulumi.prod.yaml").write_text(text)
    words = ("check", "Pulumi.prod.yaml", "--diff", "--effect", "unknown")
    result = call("--database", story[0], *words, now=story[1].now, code=1)
    subprocess.run(["git", "apply", "--unidiff-zero"], input=result.stdout, text=True, check=True)

    assert Path("Pulumi.prod.yaml").read_text() == text.replace("uimage-a", "uimage-b")


@pytest.mark.parametrize("name", [b"a b.tf", b"a\x1b[31m\n+++ b.tf", b'"\\".tf', b"\xff.tf", "ü.tf".encode()])
def test_diff_of_odd_names(story: tuple[str, Diary], name: bytes) -> None:
    """A file's name stands on its line of a diff whatever is in it, and git finds the file by it."""
    path = Path(os.fsdecode(name))
    path.write_text(POOL % "uimage-a")
    result = call("--database", story[0], "check", ".", "--diff", now=story[1].now, code=1)
    subprocess.run(["git", "apply", "--unidiff-zero"], input=result.stdout_bytes, check=True)

    assert len(result.stdout.splitlines()) == 5
    assert path.read_text() == POOL % "uimage-b"


def test_diff_of_an_absolute_path(story: tuple[str, Diary]) -> None:
    """A file below the present folder has its way from there, however it was named: git takes no other."""
    Path("pool.tf").write_text(POOL % "uimage-a")
    result = call("--database", story[0], "check", Path.cwd(), "--diff", now=story[1].now, code=1)
    subprocess.run(["git", "apply", "--unidiff-zero"], input=result.stdout, text=True, check=True)

    assert Path("pool.tf").read_text() == POOL % "uimage-b"


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
@pytest.mark.parametrize("name", ["pool.tf", "a b.tf", "ü.tf"])
def test_diff_for_patch(story: tuple[str, Diary], name: str) -> None:
    """`patch` takes the change as well, and finds the file by its name, blanks in it included."""
    Path(name).write_text(POOL % "uimage-a")
    result = call("--database", story[0], "check", ".", "--diff", now=story[1].now, code=1)
    subprocess.run(["patch", "-p1", "--batch"], input=result.stdout_bytes, check=True)

    assert Path(name).read_text() == POOL % "uimage-b"


def test_diff_of_lone_returns(story: tuple[str, Diary]) -> None:
    """Where carriage returns alone end lines the whole file is one line for whoever reads a diff, and is not shown."""
    Path("pool.tf").write_bytes(POOL.replace("\n", "\r").encode() % b"uimage-a")
    result = call("--database", story[0], "check", "pool.tf", "--diff", now=story[1].now, code=1)

    assert result.stdout.splitlines()[2:] == [
        "@@ -1 +1 @@",
        '-…image_id          = "uimage-a…',
        "\\ No newline at end of file",
        '+…image_id          = "uimage-b…',
        "\\ No newline at end of file",
    ]


@pytest.mark.parametrize("effect", ["replaces-cluster", "nothing", "unknown"])
def test_effects_that_have_to_be_named(story: tuple[str, Diary], effect: str) -> None:
    """What a change would harm, or do nothing to, is changed where the effect is named, and else said."""
    texts = {
        "replaces-cluster": CLUSTER % "uimage-a" + "}\n",
        "nothing": (POOL % "uimage-a").replace("node_group", "node"),
        "unknown": (POOL % "uimage-a")
        .replace('resource "ucloud_uk8s_node_group"', 'module "x"')
        .replace('"workers"', ""),
    }
    Path("a.tf").write_text(texts[effect])
    said = check(story, "a.tf", "--fix", code=1)

    assert f"the effect of that is {effect}; --effect {effect} allows it" in said
    assert Path("a.tf").read_text() == texts[effect]
    check(story, "a.tf", "--fix", "--effect", effect)
    assert Path("a.tf").read_text() == texts[effect].replace("uimage-a", "uimage-b")
    assert "give one of them" in check(story, "a.tf", "--effect", effect, code=2)


def test_what_tools_write(story: tuple[str, Diary]) -> None:
    """States, plans, manifests, answers of the API and links stay as they are, and that is said."""
    values = {"availability_zone": "hk-02", "image_id": "uimage-a"}
    pool = {"type": "ucloud_uk8s_node_group", "name": "p", "mode": "managed"}
    documents = {
        "terraform.tfstate": {"version": 4, "resources": [{**pool, "instances": [{"attributes": values}]}]},
        "plan.json": {"planned_values": {"root_module": {"resources": [{**pool, "values": values}]}}},
        "export.json": {"RetCode": 0, "NodeGroupList": [{"NodeGroupId": "n", "Zone": "hk-02", "ImageId": "uimage-a"}]},
        "manifest.json": {"builds": [{"builder_type": "ucloud-uhost", "artifact_id": "hk:uimage-a"}]},
        "output.json": {"pool": {"sensitive": False, "type": ["object", {}], "value": values}},
        "stack.json": {"version": 3, "deployment": {"resources": [{"inputs": {**values, "imageId": "uimage-a"}}]}},
        "odd.tfstate": {"lineage": "x", "pool": values},
    }
    for name, document in documents.items():
        Path(name).write_text(json.dumps(document))
    Path("real").mkdir()
    Path("real/pool.tf").write_text(POOL % "uimage-a")
    Path("link.tf").symlink_to("real/pool.tf")
    Path("folder").symlink_to("real")
    Path("again").symlink_to("real")
    names = [*documents, "link.tf", "folder/pool.tf", str(Path("again/pool.tf").absolute())]
    before = {name: Path(name).read_bytes() for name in names}
    said = check(story, *names, "--fix", "--effect", "unknown", code=1)

    assert {name: Path(name).read_bytes() for name in names} == before
    assert said.count("a tool wrote the file") == 7 + ("manifest.json, line 1: uimage-a is not fixed: a tool" in said)
    assert said.count("the file is reached through a link") == 3
    assert "Ids fixed: 0, files: 0." in said


@pytest.fixture
def two_projects(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Diary]]:
    """Return a history in which two projects of a zone got another image each in the place of the same."""
    monkeypatch.chdir(tmp_path)
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        other = target("hk-02", project="org-y")
        kept = {"uimage-k": "Keep", "uimage-l": "Keep too"}
        diary.run({HK: {**kept, "uimage-a": "Ubuntu"}, other: {**kept, "uimage-a": "Ubuntu"}})
        diary.run({HK: {**kept, "uimage-b": "Ubuntu"}, other: {**kept, "uimage-c": "Ubuntu"}})
        yield sqlite_url, diary


def test_projects_that_disagree(two_projects: tuple[str, Diary]) -> None:
    """Where projects of the zone have different successors nothing is changed, and that is said."""
    Path("pool.tf").write_text(POOL % "uimage-a")

    assert "the projects do not agree on what came after it" in check(two_projects, "pool.tf", "--fix", code=1)
    assert Path("pool.tf").read_text() == POOL % "uimage-a"


def test_zones_that_disagree(story: tuple[str, Diary]) -> None:
    """An id without a zone that is good in one of its zones is left alone, also where the selection hides that one."""
    text = (POOL % "uimage-a").replace('"hk-02"', "var.zone")
    Path("pool.tf").write_text(text)

    assert "the zones do not agree" in check(story, "pool.tf", "--fix", code=1)
    said = "uimage-a is not fixed: it is for sg-01 as well, which the selection leaves out."
    assert said in check(story, "pool.tf", "--fix", "--zone", "hk-02", code=1)
    assert said in check(story, "pool.tf", "--diff", "--region", "hk", code=1)
    assert Path("pool.tf").read_text() == text


def test_knowledge_in_doubt(story: tuple[str, Diary]) -> None:
    """From what is unknown, stale or on hold nothing is changed."""
    diary = story[1]
    Path("pool.tf").write_text(POOL % "uimage-a")
    diary.run({HK: Refusal(message="down")})
    check(story, "pool.tf", "--fix", code=8)
    diary.run({HK: {"uimage-b": "Ubuntu 20.04", "uimage-k": "Keep", "uimage-r": "Rocky", "uimage-r2": "Rocky"}})
    diary.run({HK: {"uimage-k": "Keep"}})
    said = check(story, "pool.tf", "--fix", code=1)

    assert "what came after it is not known for certain" in said
    assert Path("pool.tf").read_text() == POOL % "uimage-a"


def test_corpus(story: tuple[str, Diary]) -> None:
    """Over every file of the corpus only ids differ, a second time nothing does, and no secret is shown."""
    shutil.copytree(CORPUS, "corpus")
    for path in Path("corpus").iterdir():
        path.write_text(path.read_text().replace("uimage-", "uimage-x").replace("hk-03", "hk-02"))
    ids = {word for line in Path("corpus/expected.txt").read_text().split() if (word := line).startswith("uimage-x")}
    Path("corpus/expected.txt").unlink()
    old = {image_id: f"Image {image_id}" for image_id in ids}
    new = {f"{image_id}new": name for image_id, name in old.items()}
    url, diary = story
    diary.run({HK: {**old, "uimage-k": "Keep"}})
    diary.run({HK: {**old, **new, "uimage-k": "Keep"}})
    before = {path: path.read_text() for path in Path("corpus").iterdir()}
    effects = [word for effect in ("unknown", "nothing", "replaces-cluster") for word in ("--effect", effect)]
    diff = call("--database", url, "check", "corpus", "--diff", *effects, now=diary.now, code=1)
    fixed = call("--database", url, "check", "corpus", "--fix", *effects, now=diary.now, code=1)
    after = {path: path.read_text() for path in before}

    assert PLANTED not in diff.stdout + diff.stderr + fixed.stdout + fixed.stderr
    assert {path: text.replace("new", "") for path, text in after.items()} == {
        path: text.replace("new", "") for path, text in before.items()
    }
    assert sum(after[path] != before[path] for path in before) > 20
    assert (
        "Ids fixed: 0, files: 0"
        in call("--database", url, "check", "corpus", "--fix", *effects, now=diary.now, code=1).stderr
    )


def test_pipe_with_a_name(story: tuple[str, Diary]) -> None:
    """What came through a pipe is judged as it was read; nobody waits for more of it, and it stays a pipe."""
    os.mkfifo("pool.tf")
    reading = os.open("pool.tf", os.O_RDONLY | os.O_NONBLOCK)  # which keeps what is written there
    Path("pool.tf").write_text(POOL % "uimage-a")
    said = check(story, "pool.tf", "--fix", code=1)
    os.close(reading)

    assert "it came through a pipe" in said
    assert Path("pool.tf").is_fifo()
    assert list(Path().iterdir()) == [Path("pool.tf")]


def test_file_that_changed_meanwhile(story: tuple[str, Diary]) -> None:
    """A file that somebody changed since it was read is left alone, and nothing stays beside it."""
    path = Path("pool.tf")
    path.write_text("theirs")
    file = PinFile(name="pool.tf", path=path, body=b"ours", is_source=True)
    with pytest.raises(CrawlerError, match="changed by somebody else"):
        check_fix.write_fixed(file, b"new")

    assert path.read_text() == "theirs"
    assert list(Path().iterdir()) == [Path("pool.tf")]


def test_folder_that_cannot_be_written(story: tuple[str, Diary], monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is said in a sentence, and the file stays whole."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    Path("pool.tf").write_text(POOL % "uimage-a")
    monkeypatch.setattr("crawler.cli.check_fix.os.fsync", full)
    said = check(story, "pool.tf", "--fix", code=70)

    assert "pool.tf cannot be written: No space left on device." in said
    assert "Ids fixed: 0, files: 0." in said
    assert Path("pool.tf").read_text() == POOL % "uimage-a"
    assert list(Path().iterdir()) == [Path("pool.tf")]


def test_second_of_two_files_that_cannot_be_written(story: tuple[str, Diary], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put right before a file that cannot be written stays so, and is counted."""
    real, calls = os.fsync, iter(range(9))

    def full(descriptor: int) -> None:
        if next(calls):
            raise OSError(28, "No space left on device")
        real(descriptor)

    for name in ("a.tf", "b.tf"):
        Path(name).write_text(POOL % "uimage-a")
    monkeypatch.setattr("crawler.cli.check_fix.os.fsync", full)
    said = check(story, "a.tf", "b.tf", "--fix", code=70)

    assert "Ids fixed: 1, files: 1." in said
    assert "b.tf cannot be written: No space left on device." in said
    assert [Path(name).read_text() for name in ("a.tf", "b.tf")] == [POOL % "uimage-b", POOL % "uimage-a"]


def test_killed_while_it_writes(story: tuple[str, Diary]) -> None:
    """Killed at any moment, each file is either as it was or whole."""
    program = """
import os, sys
from pathlib import Path
from crawler.cli.check_files import PinFile
from crawler.cli.check_fix import write_fixed
path = Path("pool.tf")
while True:
    body = path.read_bytes()
    write_fixed(PinFile(name="pool.tf", path=path, body=body, is_source=True), body[::-1])
    print(flush=True)
"""
    path = Path("pool.tf")
    body = bytes(range(256)) * 4_000
    for _ in range(5):
        path.write_bytes(body)
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=".", env={
            **os.environ, "PYTHONPATH": str(ROOT)}) as writer:  # fmt: skip
            assert writer.stdout is not None
            writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)
        assert path.read_bytes() in (body, body[::-1])
