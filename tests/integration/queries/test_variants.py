"""Readers and digests of a matrix: what all variants of a place say is one line, and what some lose names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from crawler.emulator import run_in_thread
from crawler.queries.variants import _cursors
from crawler.web.answers import answer_schemas
from tests.support.driving import Driver, account
from tests.support.matrix import MACHINES, VERSIONS, auto, images, machine, matrix_timeline, sold, zones

HERE = zones(3)
ZONE = HERE[0]
V100 = ["g-v100-1.26", "g-v100-1.28", "g-v100-1.30"]
REPORT = {
    "smtp": {"host": "127.0.0.1", "from": "a@example.com", "security": "none"},
    "reports": [{"name": "r", "to": ["b@example.com"]}],
}


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """Return the reader of a history: V100 loses an image everywhere, a version ends, and so do A100s in a zone."""
    folder = tmp_path_factory.mktemp("matrix")
    user = Driver(folder, str(folder / "history.db"))
    lost = {zone: images(zone, lost_by={"every": "V100"}) for zone in HERE}
    ended = sold(HERE, versions=VERSIONS[1:])
    fewer = {
        **ended,
        "instance-type": {**ended["instance-type"], ZONE: [machine(one) for one in MACHINES if one != "A100"]},
    }
    with run_in_thread(
        matrix_timeline(HERE, steps=[{"images": lost}, {"inventory": ended}, {"inventory": fewer}])
    ) as cloud:
        user.configure(auto(cloud.url), **REPORT)
        user.run("--no-report")
        for runs in (1, 3, 3):
            cloud.advance()
            for _ in range(runs):
                user.run("--no-report")
    return user


def named(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the variants of each image by its name; fails where one has two rows."""
    found = {row["image_name"]: row["variants"] for row in rows}
    assert len(found) == len(rows)
    return found


def table(user: Driver, *words: object) -> list[str]:
    return [" ".join(line.split()) for line in user.call(*words, "--wide").stdout.splitlines()]


def test_images(user: Driver) -> None:
    """An image is one row in each zone, with the variants that list it; by --variant there is a row for each."""
    rows = named(user.rows("images", "--zone", HERE[1]))
    everything = {row["variant"] for row in user.rows("status", "--zone", HERE[1])}
    assert set(rows["Image other"]) == everything
    assert set(rows["Image every"]) == everything - set(V100)
    assert rows["Image old"] == ["default"]
    assert {name[:2] for name in rows["Image gpu"]} == {"g-"}
    for words in (["images"], ["changes"], ["where", "Image every"], ["compare", *HERE[1:]], ["diff", "7h", "now"]):
        jsonschema.validate(user.rows(*words), answer_schemas()[words[0]])
    apart = user.rows("images", "--zone", HERE[1], "--variant", "g-v100-*")
    assert {row["variant"] for row in apart} == set(V100[1:])
    assert "variants" not in apart[0]


def test_images_as_a_table(user: Driver) -> None:
    """A table says in few words which variants, or which not."""
    lines = table(user, "images", "--zone", HERE[1])
    assert [line.split(" uk8s-image ")[1].split(" ImageSet")[0] for line in lines if " Image " in line] == [
        "all but g-v100-*", "default", "all", "g-a100-*, g-h20-*, g-v100-*",
    ]  # fmt: skip
    assert "variants" in user.call("images", "-o", "csv").stdout.splitlines()[0]


def test_changes(user: Driver) -> None:
    """What one GPU type loses is one row in each zone that names it, and what ends is one row for all zones."""
    rows = user.rows("changes")
    # the zones in the order in which their answers came
    assert sorted((row["event"], row["zone"], row["image_name"], row["variants"]) for row in rows[:3]) == [
        ("withdrawn", zone, "Image every", V100) for zone in HERE
    ]
    assert [(row["event"], row["fields"]) for row in rows[3:]] == [
        ("target_retired", {"k8s_version": ["1.26.7", None], "zones": [HERE, None]}),
        ("target_retired", {"machine_type": ["G", None], "gpu_type": ["A100", None], "zones": [[ZONE], None]}),
    ]
    assert sum(" g-v100-* " in line for line in table(user, "changes")) == 3


def test_cursors(user: Driver) -> None:
    """Cursors rise from row to row, and asking on after any of them misses nothing behind it."""
    rows = user.rows("changes")
    cursors = [row["cursor"] for row in rows]
    assert cursors == sorted(set(cursors))
    told = [{(row["zone"], name) for name in row["variants"]} for row in rows]
    for number, cursor in enumerate(cursors[:-1], start=1):
        later = user.rows("changes", "--after", cursor)
        assert {(row["zone"], name) for row in later for name in row["variants"]} >= set().union(*told[number:])


def test_where_compare_and_diff(user: Driver) -> None:
    """Where a name is told the same for several variants, in two zones or at two moments, that is one row."""
    rows = user.rows("where", "Image every", "--zone", HERE[1])
    assert [(row["state"], row["variants"]) for row in rows if row["state"] != "present"] == [("withdrawn", V100[1:])]
    assert len(rows) == 2
    assert [row["result"] for row in user.rows("compare", *HERE[1:])] == ["same"] * 4
    (row,) = user.rows("diff", "2026-11-23T19:30", "2026-11-23T20:30", "--zone", ZONE)
    assert (row["event"], row["image_name"], row["variants"]) == ("withdrawn", "Image every", V100)


def test_a_digest(user: Driver) -> None:
    """A mail has a line for the image with the GPU type that lost it, and one for what ended, over all zones."""
    said = user.call("report", "preview", "r").stdout
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "Subject: First report: 3 withdrawn, 2 offered no more [prod]" in lines
    assert "3 zones Image every between 23 Nov 19:00 and 20:00" in lines
    assert [line for line in lines if "(g-v100-*)" in line] == [
        f"{zone} (g-v100-*) uimage-{zone}-every" for zone in HERE
    ]
    assert "3 zones Kubernetes 1.26.7 by 23 Nov 23:00" in lines
    assert any(line.startswith(f"{ZONE} GPU type A100 by ") for line in lines)
    user.call("report", "preview", "r", "--language", "zh")


def test_resolve(user: Driver) -> None:
    """A name that only machines list is no answer to the plain question, which says which variants to choose from."""
    said = user.call("resolve", "--zone", HERE[1], "--name", "Image gpu", code=1).stderr
    assert (
        "Variants that list one: g-a100-1.28, g-a100-1.30, g-h20-1.28, g-h20-1.30 and 2 more; choose with --variant."
        in " ".join(said.split())
    )
    found = user.call("resolve", "--zone", HERE[1], "--name", "Image gpu", "--variant", "g-h20-1.30").stdout
    assert found.strip() == f"uimage-{HERE[1]}-gpu"


def test_resolve_what_is_revoked(user: Driver) -> None:
    """An image that is revoked is refused, and no variant is offered that would list it all the same."""
    image = f"uimage-{HERE[1]}-other"
    user.call("revoke", image, "--reason", "broken")
    said = user.call("resolve", "--zone", HERE[1], "--name", "Image other", code=1).stderr
    user.call("unrevoke", image)
    assert "is revoked: broken." in said
    assert "--variant" not in said


def test_pages(user: Driver, tmp_path: Path) -> None:
    """A name that only machines list has its page like any other, as one of them lists it."""
    user.call("publish", tmp_path / "site", "--with-private")
    page = (tmp_path / "site" / "names" / "image-gpu.html").read_text()
    assert f"uimage-{ZONE}-gpu" in page
    assert "Kubernetes 1.26.7" in (tmp_path / "site" / "changes.html").read_text()


def test_without_a_matrix(tmp_path: Path) -> None:
    """Variants that somebody named are rows of their own, as ever."""
    user = Driver(tmp_path, str(tmp_path / "history.db"))
    gpu = {"name": "gpu", "MachineType": "G", "GPUType": "V100"}
    with run_in_thread(matrix_timeline(HERE)) as cloud:
        user.configure(account(cloud.url, variants=[gpu])).run()
    rows = user.rows("images", "--zone", ZONE, "--name", "Image other")
    assert [row["variant"] for row in rows] == ["default", "gpu"]
    assert all("variants" not in row for row in rows)


def test_an_account_without_a_matrix_beside_one(tmp_path: Path) -> None:
    """The only variant of an account that has no matrix is told by its name, also beside an account that has one."""
    user = Driver(tmp_path, str(tmp_path / "history.db"))
    with run_in_thread(matrix_timeline(HERE)) as cloud:
        user.configure(auto(cloud.url), account(cloud.url, "plain")).run()
    told = {tuple(line.split()[:6:5]) for line in table(user, "images", "--zone", ZONE, "--name", "Image other")[1:]}
    assert told == {("prod", "all"), ("plain", "default")}
    chinese = table(user, "--language", "zh", "images", "--zone", ZONE, "--name", "Image other")
    assert {line.split()[5] for line in chinese if "Image other" in line} == {"全部", "default"}


def test_cursors_of_rows_that_overlap() -> None:
    """Where the parts of folded rows lie between each other, none is passed over before its row was given."""
    assert list(_cursors([[1, 2, 9], [3, 4, 5], [6], [7, 8]])) == [2, 5, 6, 9]
    assert list(_cursors([[1, 9], [2, 8], [3]])) == [1, 2, 9]
    assert list(_cursors([])) == []
