"""An image that is listed in a state in which it cannot be used: every reader shows it, and none hands it out."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from crawler.emulator import run_in_thread
from tests.support.driving import Driver, account
from tests.support.kinds import kinds_timeline, uhost_image

NAME = "Rocky 9.5"
KIND = ("--kind", "uhost-image")
OLD, NEW = "uimage-u00001", "uimage-u00002"


def inventory(**states: str) -> dict[str, Any]:
    """Return what the cloud lists: the *old* image and the *new* one, each in its state."""
    numbers = {"old": 1, "new": 2}
    listed = [uhost_image(numbers[which], ImageName=NAME, State=state) for which, state in states.items()]
    return {"uhost-image": {"hk-02": listed}}


STORY = [
    inventory(old="Available"),
    inventory(old="Available", new="Making"),
    inventory(old="Available", new="Available"),
    inventory(old="Unavailable", new="Available"),
    inventory(old="Unavailable", new="Copying"),
    inventory(new="Copying"),
]


#: After each step: what `resolve` and `where` give, what supersedes the images listed, and how the name and the two
#: pinned ids turn out.
GOOD = ("ok", None)
NONE = ("missing", None)
EXPECTED: list[tuple[Any, ...]] = [
    (OLD, (OLD, "Available", True), {OLD: None}, [GOOD, GOOD, ("never-seen", None)]),
    (OLD, (OLD, "Available", True), {OLD: None, NEW: None}, [GOOD, GOOD, NONE]),
    (NEW, (NEW, "Available", True), {OLD: NEW, NEW: None}, [GOOD, ("superseded", NEW), GOOD]),
    (NEW, (NEW, "Available", True), {OLD: NEW, NEW: None}, [GOOD, ("re-issued", NEW), GOOD]),
    ("", (NEW, "Copying", False), {OLD: None, NEW: None}, [NONE, NONE, NONE]),
    ("", (NEW, "Copying", False), {NEW: None}, [NONE, NONE, NONE]),
]


def test_the_story_of_a_name(tmp_path: Path, database_url: str) -> None:
    """
    An image that is being made, copied or broken is listed with its state, which is a change of it and no withdrawal;
    it is not resolved, supersedes and replaces nothing, fulfils no policy, and who pins it needs another id.
    """
    user = Driver(tmp_path, database_url)
    rules = tmp_path / "rules.toml"
    rules.write_text(
        f'[[require]]\nname = "{NAME}"\nkind = "uhost-image"\nzones = ["*"]\n'
        f'[[pinned]]\nids = ["{OLD}", "{NEW}"]\nkind = "uhost-image"\nzone = "hk-02"\n'
    )
    asked = ("resolve", "--zone", "hk-02", "--name", NAME, *KIND)
    told: list[tuple[Any, ...]] = []
    tables: list[str] = []
    steps = [{"inventory": listed} for listed in STORY[1:]]
    with run_in_thread(kinds_timeline(STORY[0], steps=steps)) as cloud:
        user.configure(account(cloud.url, kinds=["uk8s-image", "uhost-image"]))
        for step in range(len(STORY)):
            cloud.step = step + 1
            user.run()
            found = user.call(*asked, code=None).stdout.strip()
            (row,) = user.rows("where", NAME, *KIND)
            listed = {one["image_id"]: one["superseded_by"] for one in user.rows("images", *KIND)}
            checked = json.loads(user.call("check", rules, "-o", "json", code=None).stdout)
            outcomes = [(one["outcome"], one["successor"]) for one in checked]
            told.append((found, (row["image_id"], row["image_state"], row["bootable"]), listed, outcomes))
            shown = (user.call(*words, *KIND, "--wide").output for words in (("images",), ("where", NAME)))
            tables.append("".join(shown))

    assert told == EXPECTED
    assert "present (Making)" in tables[1]
    assert f"not to use: {NEW} (Making)" in tables[1]
    assert "An older id" not in tables[1]
    assert "An older id is still there in hk-02." in tables[2]
    assert "present (Copying)" in tables[5]
    assert f"can be used: {NEW} (Copying)." in user.call(*asked, code=1).output
    assert f"{NAME} is listed, but cannot be used (Copying)" in user.call("check", rules, "--wide", code=1).output
    changes = user.rows("changes", *KIND)
    assert [(one["event"], one["image_id"], one["counterpart"]) for one in changes] == [
        ("appeared", NEW, None),
        ("modified", NEW, None),
        ("modified", OLD, None),
        ("modified", NEW, None),
        ("withdrawn", OLD, None),
    ]
    since = user.now - timedelta(hours=5)
    (row,) = user.rows("diff", since.isoformat(), "now", *KIND, "--image-id", OLD)
    assert (row["event"], row["counterpart"]) == ("withdrawn", None)
    (row,) = user.rows("compare", "hk-02", "hk-02", *KIND)
    assert f"{NEW} (Copying)" in user.call("compare", "hk-02", "hk-02", *KIND, "--wide").stdout
    assert (row["first"]["image_id"], row["first"]["image_state"], row["first"]["gpu"]) == (NEW, "Copying", None)


def test_in_chinese(tmp_path: Path) -> None:
    """What is said of it is said in Chinese too."""
    user = Driver(tmp_path, str(tmp_path / "history.db"))
    with run_in_thread(kinds_timeline(STORY[1], steps=[{"inventory": STORY[4]}])) as cloud:
        user.configure(account(cloud.url, kinds=["uk8s-image", "uhost-image"]))
        user.run()
        where = user.call("--language", "zh", "where", NAME, *KIND).stdout
        cloud.step = 2
        user.run()
    refused = user.call("--language", "zh", "resolve", "--zone", "hk-02", "--name", NAME, *KIND, code=1).output

    assert f"不可用：{NEW}（Making）" in where
    assert f"目前都不可用：{OLD} (Unavailable), {NEW} (Copying)" in refused
