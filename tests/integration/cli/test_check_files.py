"""`crawler check` over files and folders: what is found, how it is judged, and that nothing else is shown."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crawler.cli.check import FINDINGS
from tests.support.checkout import HK, POOL, SG
from tests.support.checkout import story as story
from tests.support.command import call, rows
from tests.support.diary import Diary, Refusal
from tests.support.house import ROOT
from tests.support.other_user import NOBODY, as_nobody

CORPUS = ROOT / "tests/unit/domain/scanner/corpus"
PLANTED = "pl4nted-s3cret"


def outcomes(story: tuple[str, Diary], *words: str, code: int = 0, stdin: str = "") -> list[tuple[Any, ...]]:
    found = rows("--database", story[0], "check", *words, now=story[1].now, code=code, stdin=stdin)
    return [(row["file"], row["line"], row["image_id"], row["zone"], row["outcome"], row["successor"]) for row in found]


def test_row_of_a_pin(story: tuple[str, Diary]) -> None:
    """A row says where the id stands, what it is, how fresh that knowledge is, and what a change does there."""
    Path("pool.tf").write_text(POOL % "uimage-a")
    (row,) = rows("--database", story[0], "check", "pool.tf", now=story[1].now, code=1)
    observed_at = row.pop("observed_at")

    assert observed_at.startswith("2026-06-01T")
    assert row == {
        "rule": "pinned uimage-a",
        "zone": "hk-02",
        "image_id": "uimage-a",
        "outcome": "re-issued",
        "successor": "uimage-b",
        "detail": row["detail"],
        "source": "pool.tf, line 4",
        "file": "pool.tf",
        "line": 4,
        "address": "ucloud_uk8s_node_group.workers",
        "image_name": "Ubuntu 20.04",
        "account": "prod",
        "project": "org-x",
        "effect": "later-nodes",
        "cluster_id": None,
        "cluster_name": None,
        "node_group_id": None,
    }


@pytest.mark.parametrize(
    ("image_id", "outcome", "code"),
    [
        ("uimage-k", "ok", 0),
        ("uimage-r", "superseded", 0),
        ("uimage-e", "ending", 0),
        ("uimage-a", "re-issued", 1),
        ("uimage-d", "missing", 1),
        ("uimage-typo", "never-seen", 1),
    ],
)
def test_outcomes(story: tuple[str, Diary], image_id: str, outcome: str, code: int) -> None:
    """Each id of a node group is judged in its zone; one with a typo is never seen."""
    Path("pool.tf").write_text(POOL % image_id)

    assert outcomes(story, "pool.tf", code=code)[0][4] == outcome


def test_folder_without_git(story: tuple[str, Diary]) -> None:
    """Of a folder count files that people write ids into: none that is hidden, larger than 1 MiB, or a link."""
    for name in ("a.tf", "b/c.tfvars", "b/d.tofu", ".hidden.tf", ".terraform/x.tf", "b/large.tf", "b/read.me"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(POOL % "uimage-k" + ("#" * 2**20 if "large" in name else ""))
    Path("link.tf").symlink_to("a.tf")
    Path("around").symlink_to("b")

    assert [row[0] for row in outcomes(story, ".")] == ["a.tf", "b/c.tfvars", "b/d.tofu"]


def refusal(story: tuple[str, Diary], path: Path) -> str:
    return call("--database", story[0], "check", path, code=2).stderr


@pytest.mark.parametrize("is_tracked", [False, True])
def test_folder_that_cannot_be_read(story: tuple[str, Diary], is_tracked: bool) -> None:
    """A folder that cannot be looked into is refused, alone or inside another: what stands in it would pass unseen."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "closed").mkdir()
        (folder / "closed/a.tf").write_text(POOL % "uimage-a")
        if is_tracked:
            subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
            subprocess.run(["git", "add", "."], cwd=folder, check=True)
            subprocess.run(["chown", "-R", str(NOBODY), folder], check=True)
        folder.chmod(0o755)
        (folder / "closed").chmod(0)

        for path in (folder, folder / "closed"):
            said = as_nobody(partial(refusal, story, path))
            assert said.startswith(f"Error: {folder / 'closed'}")
            assert "cannot be read: Permission denied." in said


def test_folder_with_git(story: tuple[str, Diary]) -> None:
    """Of a checkout count the files that git tracks, and no others, whatever part of it is named."""
    for name in ("a.tf", "sub/b.tf", "sub/untracked.tf", "gone.tf", ".github/c.yaml"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(POOL % "uimage-k" if name.endswith(".tf") else "imageId: uimage-k\n")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "add", "a.tf", "sub/b.tf", "gone.tf", ".github/c.yaml"], check=True)
    Path("gone.tf").unlink()

    assert [row[0] for row in outcomes(story, ".")] == [".github/c.yaml", "a.tf", "sub/b.tf"]
    assert [row[0] for row in outcomes(story, "sub")] == ["sub/b.tf"]


def test_checkout_that_git_does_not_tell_of(story: tuple[str, Diary], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git is missing, or refuses somebody else's checkout, it is said which files were not read for that."""
    Path(".github").mkdir()
    for name in ("a.tf", ".github/c.tf"):
        Path(name).write_text(POOL % "uimage-k")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "add", "."], check=True)
    told = "Warning: .: git does not tell which files it tracks (is it installed, and is the checkout this user's?); "
    words = ("--database", story[0])
    assert told not in call(*words, "check", ".", now=story[1].now).stderr
    assert [row[0] for row in outcomes(story, ".")] == [".github/c.tf", "a.tf"]
    monkeypatch.setenv("PATH", "/nowhere")

    said = call(*words, "check", ".", now=story[1].now).stderr
    assert f"{told}hidden ones and those over 1 MiB were not read." in said
    assert told in call(*words, "pins", ".", now=story[1].now).stderr
    assert [row[0] for row in outcomes(story, ".")] == ["a.tf"]
    Path("../other").mkdir()
    Path("../other/a.tf").write_text(POOL % "uimage-k")
    assert "git" not in call(*words, "check", "../other", now=story[1].now).stderr


def test_folder_that_git_ignores(story: tuple[str, Diary]) -> None:
    """A folder that git ignores as a whole, as one of rendered manifests, is read as one without git."""
    subprocess.run(["git", "init", "-q"], check=True)
    for name in ("rendered/a.yaml", "rendered/sub/b.yaml", "rendered/.hidden.yaml", "part/c.yaml", "part/d.tf"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("zone: hk-02\nimageId: uimage-k\n" if "yaml" in name else POOL % "uimage-k")
    Path(".gitignore").write_text("rendered/\npart/*.yaml\n")
    subprocess.run(["git", "add", "part"], check=True)

    assert [row[0] for row in outcomes(story, "rendered")] == ["rendered/a.yaml", "rendered/sub/b.yaml"]
    assert [row[0] for row in outcomes(story, "rendered/sub")] == ["rendered/sub/b.yaml"]
    assert [row[0] for row in outcomes(story, "part")] == ["part/d.tf"]
    assert [row[0] for row in outcomes(story, ".")] == ["part/d.tf"]
    Path("part/d.tf").write_text("")
    said = call("--database", story[0], "check", "part", now=story[1].now).stderr
    assert said == "part holds no image id in a file that git tracks.\n"  # one that is ignored does


def test_folder_in_a_hook(story: tuple[str, Diary], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a hook of a linked worktree, and for the folder of another checkout, those count that are tracked there."""
    for folder in ("hooked", "other"):
        (Path(folder) / "sub").mkdir(parents=True)
        (Path(folder) / "sub" / "a.tf").write_text(POOL % "uimage-k")
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        subprocess.run(["git", "add", "."], cwd=folder, check=True)
    (Path("other") / "untracked.tf").write_text(POOL % "uimage-k")
    for name, value in (("GIT_DIR", ".git"), ("GIT_INDEX_FILE", ".git/index")):
        monkeypatch.setenv(name, str(Path("hooked").absolute() / value))

    assert [row[0] for row in outcomes(story, "hooked/sub")] == ["hooked/sub/a.tf"]
    assert [row[0] for row in outcomes(story, "other")] == ["other/sub/a.tf"]


def test_checkouts_inside(story: tuple[str, Diary]) -> None:
    """Checkouts inside that of a folder, as submodules, are counted as not read, but for those that are named."""
    as_somebody = ("-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false")
    for folder in ("live", "live/module", "live/cloned"):
        Path(folder).mkdir()
        (Path(folder) / "a.tf").write_text(POOL % "uimage-k")
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        if folder != "live":
            subprocess.run(["git", "add", "."], cwd=folder, check=True)
            subprocess.run(["git", *as_somebody, "commit", "-qm", "c"], cwd=folder, check=True)
    subprocess.run(["git", "-c", "advice.addEmbeddedRepo=false", "add", "a.tf", "module"], cwd="live", check=True)

    def said(*words: str, command: str = "check") -> list[str]:
        lines = call("--database", story[0], command, *words, now=story[1].now).stderr.splitlines()
        return [line.removeprefix("Warning: live: ") for line in lines if line.startswith("Warning")]

    two = "2 checkouts inside it were not read; name what is to be checked."
    assert said("live") == said("live", command="pins") == [two]
    assert said("live", "live/cloned/") == ["1 checkout inside it was not read; name what is to be checked."]
    assert said("live", "live/cloned", "live/module") == []
    assert len(outcomes(story, "live", "live/cloned", "live/module")) == 3


def test_what_git_does_not_track(story: tuple[str, Diary]) -> None:
    """Files that were not read since git does not track them are counted, but for ignored and named ones."""
    subprocess.run(["git", "init", "-q"], check=True)
    for name in ("sub/b.tf", "new/c.tf", "new/d.tfvars", "new/read.me", "new/ignored.tf", "tracked.tf"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(POOL % "uimage-k")
    Path(".gitignore").write_text("ignored.tf\n")
    subprocess.run(["git", "add", "tracked.tf"], check=True)
    one = "Warning: sub: 1 file that git does not track was not read; `git add` or name what is to be checked."
    two = "Warning: new: 2 files that git does not track were not read; `git add` or name what is to be checked."

    def said(*words: str, command: str = "check") -> list[str]:
        result = call("--database", story[0], command, *words, now=story[1].now)
        return result.stderr.splitlines()

    assert said("sub") == ["sub holds no image id in a file that git tracks.", one]
    assert said("new", "sub", "tracked.tf", "-o", "sarif")[2:4] == [two, one]
    assert one in said("sub", "--fix")
    assert [line for line in said("sub", "sub/b.tf") if "git" in line and "Warning" in line] == []
    assert said("sub", "new", command="pins")[:2] == [one, two]
    assert said("tracked.tf", command="pins") == []
    subprocess.run(["git", "add", "sub"], check=True)
    assert [line for line in said("sub") if "git" in line] == []


def test_files_that_are_never_parsed(story: tuple[str, Diary], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many files only those are parsed that hold something like an id."""
    parsed: list[str] = []
    module = importlib.import_module("crawler.cli.check_files")
    scan = module.scan

    def noted(text: str, name: str) -> Any:
        parsed.append(name)
        return scan(text, name)

    monkeypatch.setattr(module, "scan", noted)
    for number in range(200):
        text = POOL % ("uimage-k" if number % 40 == 0 else "${var.image}")
        Path(f"f{number:03}.tf").write_text(text + '# image-pull-policy, an image_id and "uimage-"\n')

    assert len(outcomes(story, ".")) == 5
    assert sorted(parsed) == ["f000.tf", "f040.tf", "f080.tf", "f120.tf", "f160.tf"]


def test_comments(story: tuple[str, Diary]) -> None:
    """A comment names zone and image; a name whose id was never seen there has a successor all the same."""
    Path("a.yaml").write_text(
        "# ucloud-image: hk-02/ubuntu-20.04\nnode: uimage-a\n"
        "other: uimage-none # ucloud-image: hk-02/Ubuntu-20.04\n"
        "imageId: uimage-d # crawler: ignore\n"
    )
    assert outcomes(story, "a.yaml", code=1) == [
        ("a.yaml", 2, "uimage-a", "hk-02", "re-issued", "uimage-b"),
        ("a.yaml", 3, "uimage-none", "hk-02", "never-seen", "uimage-b"),
    ]


def test_machines(story: tuple[str, Diary]) -> None:
    """An id of a machine whose kind nobody asks for is out of scope, and not known where everything has to be."""
    machine = {"type": "ucloud_instance", "name": "m", "mode": "managed", "instances": [
        {"index_key": n, "attributes": {"availability_zone": "hk-02", "image_id": f"uimage-private{n}"}}
        for n in range(3)
    ]}  # fmt: skip
    Path("terraform.tfstate").write_text(json.dumps({"version": 4, "resources": [machine]}))
    words = ("--database", story[0], "check", "terraform.tfstate")

    assert "3 out-of-scope" in call(*words, now=story[1].now).stderr
    assert "3 out-of-scope" in call(*words, "--strict", now=story[1].now, code=8).stderr
    assert [row["address"] for row in rows(*words, now=story[1].now)] == [f"ucloud_instance.m[{n}]" for n in range(3)]


def test_plans(story: tuple[str, Diary]) -> None:
    """A plan that mends a pin passes; the one that keeps it fails with file, address and successor."""

    def plan(image_id: str) -> str:
        pool = {"address": "module.k.ucloud_uk8s_node_group.w[0]", "mode": "managed", "type": "ucloud_uk8s_node_group"}
        after = {**pool, "values": {"availability_zone": "hk-02", "image_id": image_id}}
        before = {**pool, "values": {"availability_zone": "hk-02", "image_id": "uimage-a"}}
        return json.dumps(
            {
                "planned_values": {"root_module": {"child_modules": [{"resources": [after]}]}},
                "resource_changes": [{**pool, "change": {"before": before["values"], "after": after["values"]}}],
                "prior_state": {"values": {"root_module": {"resources": [before]}}},
            }
        )

    assert outcomes(story, "-", stdin=plan("uimage-b")) == [("stdin", 1, "uimage-b", "hk-02", "ok", None)]
    Path("plan.json").write_text(plan("uimage-a"))
    (row,) = rows("--database", story[0], "check", "plan.json", now=story[1].now, code=1)
    assert (row["file"], row["address"], row["successor"]) == (
        "plan.json", "module.k.ucloud_uk8s_node_group.w[0]", "uimage-b",
    )  # fmt: skip


def test_filters(story: tuple[str, Diary]) -> None:
    """Types and ids that are not wanted are left out."""
    Path("a.tf").write_text(POOL % "uimage-k" + 'locals { image_id = "uimage-a" }\n')

    assert [row[2] for row in outcomes(story, "a.tf", "--type", "ucloud_uk8s_*")] == ["uimage-k"]
    assert [row[2] for row in outcomes(story, "a.tf", "--ignore", "uimage-a")] == ["uimage-k"]


@pytest.mark.parametrize("name", ["a.tf", "."])
def test_nothing_left_to_check(story: tuple[str, Diary], name: str) -> None:
    """Where the options leave out every id that is there, that is said: a mistyped type would pass without a word."""
    Path("a.tf").write_text(POOL % "uimage-a")
    said = call("--database", story[0], "check", name, "--type", "ucloud_k8s_*", now=story[1].now).stderr

    assert said == f"{name} holds no image id but those that --type and --ignore leave out.\n"


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        ("imageId: uimage-b\nzone: hk-02\n", [("uimage-b", "hk-02")]),
        ('{"Zone": "hk-02", "ImageId": "uimage-b"}', [("uimage-b", "hk-02")]),
        ('master {\n  availability_zones = ["hk-02", "hk-02"]\n  image_id = "uimage-b"\n}\n', [("uimage-b", "hk-02")]),
        ("export PASSWORD=x-y\nhk-02 uimage-b\n", [("uimage-b", "hk-02")]),
        (POOL % "uimage-b", [("uimage-b", "hk-02")]),
    ],
)
def test_standard_input(story: tuple[str, Diary], stdin: str, expected: list[tuple[str, str]]) -> None:
    """What comes without a name is known by what it says."""
    assert [row[2:4] for row in outcomes(story, "-", stdin=stdin)] == expected


@pytest.mark.parametrize("fmt", ["table", "json", "jsonl", "csv", *FINDINGS])
def test_nothing_but_ids_is_shown(story: tuple[str, Diary], fmt: str) -> None:
    """A secret in every file of the corpus stands in no output, and in nothing that is said."""
    shutil.copytree(CORPUS, "corpus")
    names = sorted(str(path) for path in Path("corpus").iterdir() if path.name != "expected.txt")
    for paths in (["corpus"], names):
        result = call("--database", story[0], "check", *paths, "-o", fmt, "--strict", now=story[1].now, code=1)
        assert PLANTED not in result.stdout + result.stderr
        assert "uimage-vareox" in result.stdout


def test_file_that_is_named_twice(story: tuple[str, Diary]) -> None:
    """A file that is named twice, alone and with its folder, counts once, and is fixed once."""
    Path("sub").mkdir()
    Path("sub/a.tf").write_text(POOL % "uimage-a")

    assert len(outcomes(story, "sub", "sub/a.tf", "./sub/a.tf", code=1)) == 1
    call("--database", story[0], "check", "sub/a.tf", "./sub", "--fix", now=story[1].now)
    assert Path("sub/a.tf").read_text() == POOL % "uimage-b"


def test_binary_plan(story: tuple[str, Diary]) -> None:
    """A plan as Terraform saves it is none to read; what makes one of it is said."""
    Path("tfplan").write_bytes(b"PK\x03\x04\x14\x00")

    assert (
        "give what `terraform show -json` says of it" in call("--database", story[0], "check", "tfplan", code=2).stderr
    )


def test_files_out_of_reach(story: tuple[str, Diary]) -> None:
    """A file that is out of reach is said by name; one in a folder that nests too deeply is left out, and said."""
    assert (
        "nowhere.tf cannot be read: No such file" in call("--database", story[0], "check", "nowhere.tf", code=2).stderr
    )
    Path("deep.json").write_text('{"image_id": "uimage-k", "x": ' + "[" * 10_000)
    Path("ok.tf").write_text(POOL % "uimage-k")
    result = call("--database", story[0], "check", ".", "-o", "json", now=story[1].now)

    assert "Warning: deep.json is nested too deeply; it is left out." in result.stderr
    assert len(json.loads(result.stdout)) == 1


def test_files_that_are_no_utf_8(story: tuple[str, Diary]) -> None:
    """A file in another encoding is good where it holds no id, and else an error, as is such a policy."""
    body = "echo Zürich\n".encode("latin-1")
    for name, more, code, said in (
        ("a.sh", b"", 0, "a.sh holds no image id."),
        ("b.sh", b"IMAGE_ID=uimage-k\n", 2, "b.sh is not UTF-8 text"),
        ("c.toml", b"", 2, "c.toml is not UTF-8 text"),
        ("d.sh", b'[[require]]\nname = "x"\n', 2, "d.sh is not UTF-8 text"),
        ("e.db", b"\0uimage-k", 2, "e.db is no text file."),
    ):
        Path(name).write_bytes(body + more)
        assert said in call("--database", story[0], "check", name, now=story[1].now, code=code).stderr


def test_unknown_zone_is_not_good(story: tuple[str, Diary]) -> None:
    """While a zone is not observed, its pins are unknown."""
    url, diary = story
    diary.run({HK: Refusal(message="down"), SG: {"uimage-a": "Ubuntu 20.04"}})
    Path("pool.tf").write_text(POOL % "uimage-k")

    assert outcomes(story, "pool.tf", code=8)[0][4] == "unknown"
    assert rows("--database", url, "check", "pool.tf", now=diary.now + timedelta(days=3), code=8)[0]["outcome"]


@pytest.mark.parametrize("command", ["check", "pins"])
def test_a_place_to_go_to(story: tuple[str, Diary], monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """In a table a place is `FILE:LINE`, as editors and terminals open it, in one piece at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("infra/main.tf", "infra/modules/node-pools/hk.tf"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(POOL % "uimage-a" + POOL % "uimage-d")
    words = ("--database", story[0], command, "infra")
    table = call(*words, now=story[1].now, code=1 if command == "check" else 0).stdout

    for name in ("infra/main.tf", "infra/modules/node-pools/hk.tf"):
        assert [f"{name}:{line}" in table.split() for line in (4, 9)] == [True, True], table
    assert max(map(len, table.splitlines())) <= 80
