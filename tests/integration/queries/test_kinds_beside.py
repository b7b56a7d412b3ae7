"""What other kinds beside UK8S images change of the answers about UK8S images: nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import text

from crawler.db.engine import opened, read
from crawler.db.views import VIEWS
from crawler.emulator import Timeline, run_in_thread
from tests.support.driving import Driver, account
from tests.support.kinds import INVENTORY, uhost_image
from tests.support.worlds import make_timeline

#: Names that UK8S images have too, in other spellings, and names that nobody else has.
TWINS = [
    uhost_image(1, ImageName="UBUNTU 20.04", ImageId="uimage-a"),
    uhost_image(2, ImageName="Centos  7.6"),
    uhost_image(3, ImageName="Rocky 9"),
]
ABOUT_IMAGES = tuple(view for view in VIEWS if view not in ("run_log", "current_items", "item_history"))

QUESTIONS: list[tuple[object, ...]] = [
    ("images",),
    ("images", "--name", "Rocky 9"),
    ("images", "--at", "2026-11-23T11:30Z"),
    ("where", "Ubuntu 20.04"),
    ("where", "ubuntu20.04"),
    ("where", "*"),
    ("where", "Rocky 9"),
    ("compare", "hk-02", "hk-01"),
    ("compare", "hk-02", "hk-01", "--name", "Rocky*"),
    ("resolve", "--zone", "hk-02", "--name", "Ubuntu 20.04"),
    ("resolve", "--zone", "hk-02", "--name", "centos7.6"),
    ("resolve", "--zone", "hk-02", "--name", "Rocky 9"),
    ("resolve", "--zone", "hk-02", "--name", "Ubuntu 20.04", "--image-set", "Base"),
]


def told(folder: Path, timeline: Timeline, kinds: list[str]) -> list[Any]:
    """Return every answer about UK8S images after three runs that asked *kinds*."""
    folder.mkdir()
    user = Driver(folder, str(folder / "history.db"))
    rules = folder / "rules.toml"
    rules.write_text(
        '[[require]]\nname = "Ubuntu 20.04"\nzones = ["*"]\n[[require]]\nname = "Rocky*"\nzones = ["hk-02"]\n'
    )
    pins = folder / "ids.txt"
    pins.write_text("hk-02 uimage-a\nuimage-b\nuimage-u00003\n")
    with run_in_thread(timeline) as cloud:
        user.configure(account(cloud.url, kinds=kinds))
        for _ in range(3):
            user.run(code=None)  # what the other kinds lose may be held
            cloud.advance()
    answers: list[Any] = []
    for words in [*QUESTIONS, ("check", rules), ("check", pins)]:
        result = user.call(*words, "-o", "json", code=None)
        # paths differ, and which targets were asked of them
        answers.append((result.exit_code, result.output.replace(str(folder), "")))
    with opened(user.database, read_only=True) as engine, read(engine) as conn:
        for view in ABOUT_IMAGES:
            rows = [dict(row) for row in conn.execute(text(f"SELECT * FROM {view}")).mappings()]
            numbers = ("target_id", "interval_id", "id")
            shown = [{name: value for name, value in row.items() if name not in numbers} for row in rows]
            answers.append((view, sorted(json.dumps(row, sort_keys=True, default=str) for row in shown)))
    return answers


def test_answers_stay_equal(tmp_path: Path) -> None:
    """`resolve`, `where`, `compare`, `check`, `images` and the views about images answer as if they were alone."""
    inventory = {**INVENTORY, "uhost-image": {"hk-02": TWINS, "hk-01": TWINS[1:]}}
    changed = {"uhost-image": {"hk-02": TWINS[:1]}, "uk8s-version": {"hk": []}}
    timeline = make_timeline(
        zones={"hk-02": {"uimage-a": "Ubuntu 20.04", "uimage-c": "CentOS 7.6"}, "hk-01": {"uimage-a": "Ubuntu 20.04"}},
        inventory=inventory,
        steps=[
            {"add": {"hk-02": {"uimage-b": "Ubuntu 20.04"}}, "inventory": changed},
            {"remove": {"hk-02": ["uimage-c"]}},
        ],
    )

    alone = told(tmp_path / "alone", timeline, ["uk8s-image"])
    beside = told(tmp_path / "beside", timeline, ["*"])

    for one, other in zip(alone, beside, strict=True):
        assert one == other
    assert any("uimage-b" in str(answer) for answer in alone)


def test_the_kind_can_be_named(tmp_path: Path, database_url: str) -> None:
    """With --kind the same readers answer about the other kinds; what cannot be booted is not resolved."""
    user = Driver(tmp_path, database_url)
    inventory = {"uhost-image": {"hk-02": [*TWINS, uhost_image(4, ImageName="Rocky 9.5", State="Making")]}}
    with run_in_thread(make_timeline(zones={"hk-02": {"uimage-a": "Ubuntu 20.04"}}, inventory=inventory)) as cloud:
        user.configure(account(cloud.url, kinds=["*"]))
        user.run()

    kind = ("--kind", "uhost-image")
    assert {row["kind"] for row in user.rows("images", *kind)} == {"uhost-image"}
    assert user.call("resolve", "--zone", "hk-02", "--name", "centos 7.6", *kind).stdout.strip() == "uimage-u00002"
    assert user.call("resolve", "--zone", "hk-02", "--name", "Rocky 9.5", *kind, code=1).stdout == ""
    assert [row["state"] for row in user.rows("where", "Centos 7.6", *kind)] == ["present"]
    assert len(user.rows("inventory", *kind)) == 4
    assert {row["kind"] for row in user.rows("inventory")} == {"uk8s-image", "uhost-image"}
    assert user.rows("inventory", "--kind", "uk8s-image") == user.rows("images")
    told_of = user.call("inventory", *kind).stdout
    assert "MAINTAIN EOL" in told_of
    assert "2030-06-30" in told_of
    assert "is no kind; did you mean uhost-image?\n" in user.call("inventory", "--kind", "uhost-imag", code=2).output
    assert user.call("inventory", *kind, "-o", "csv").stdout.splitlines()[0].count("bootable") == 1
    # among the names of every kind those of UK8S images alone count, on both databases
    assert "The history knows no image name" in user.call("where", "Rocky 9", code=2).output
    assert [row["image_name"] for row in user.rows("where", "ubuntu20.04")] == ["Ubuntu 20.04"]
    with opened(user.database, read_only=True) as engine, read(engine) as conn:
        items = conn.execute(text("SELECT kind, image_id FROM current_items")).all()
        images = conn.execute(text("SELECT kind, image_id FROM current_images")).all()
    assert len(items) == 5
    assert [tuple(row) for row in images] == [("uk8s-image", "uimage-a")]
    made = next(row for row in user.rows("images", *kind) if row["image_id"] == "uimage-u00004")
    assert (made["image_state"], made["bootable"], made["maintain_eol"]) == ("Making", False, "2030-06-30")
    assert user.rows("images", *kind) == user.rows("inventory", *kind)
    assert "bootable" in user.call("images", *kind, "-o", "csv").stdout.splitlines()[0]
    assert "bootable" not in user.call("images", "-o", "csv").stdout.splitlines()[0]
