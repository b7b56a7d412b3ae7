"""The timeline's format: every problem of a file gets one sentence, and the shipped files have none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crawler.emulator import BUILTIN, EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, QUIRKS, load_timeline, parse_timeline
from crawler.emulator import scenario as format_page
from crawler.emulator.builtin import demo_path, published_images, published_regions
from crawler.errors import ConfigurationError
from tests.support.worlds import make_timeline, make_zone

ZONES = [make_zone("hk-02")]


def listing(condition: Any) -> dict[str, Any]:
    """Return a timeline of one record with this condition."""
    return {"zones": ZONES, "images": {"hk-02": {"ImageSet": [{"ImageId": "uimage-a", "_when": condition}]}}}


def problems_of(document: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_timeline(document, source="mine.json")
    assert caught.value.source == "mine.json"
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "the file must hold one JSON object"),
        ({}, "zones: is missing; a timeline lists its zones, if only as []"),
        ({"zones": ZONES, "stepps": []}, "stepps: is no key; did you mean steps?"),
        ({"zones": ZONES, "steps": []}, "steps: names no step; leave it out for a timeline of one"),
        ({"zones": ZONES, "steps": {}}, "steps: must be a list"),
        ({"zones": ZONES, "steps": [3]}, "steps[1]: 3 must be an object"),
        ({"zones": ZONES, "schema": "2023"}, "schema: '2023' must be one of '2020', '2026'"),
        ({"zones": ZONES, "about": 3}, "about: 3 must be a text"),
        ({"zones": [{"zone": "hk-02"}]}, "zones[1].region: is missing"),
        ({"zones": [{"zone": "hk-02", "region": ""}]}, "zones[1].region: '' is empty"),
        ({"zones": [{**ZONES[0], "zone_id": "3002"}]}, "zones[1].zone_id: '3002' must be a whole number"),
        ({"zones": [{**ZONES[0], "default": 1}]}, "zones[1].default: 1 must be true or false"),
        ({"zones": ZONES * 2}, 'zones: "hk-02" is listed twice'),
        ({"zones": ZONES, "projects": [{"id": "org-a"}]}, "projects[1].project_id: is missing"),
        ({"zones": ZONES, "quirks": ["null-set"]}, "quirks[1]: 'null-set' is no quirk; did you mean null-sets?"),
        ({"zones": ZONES, "images": {"hk-20": {}}}, 'images: no zone is called "hk-20"; did you mean hk-02?'),
        ({"zones": ZONES, "images": {"org-x/hk-02": {}}}, 'images: no project has the id "org-x"'),
        ({"zones": ZONES, "images": {"hk-02": []}}, "images.hk-02: must be an object"),
        (
            {"zones": ZONES, "steps": [{}, {"remove": {"hk-02": ["uimage-a"]}}]},
            'steps[2].remove.hk-02: "uimage-a" is not listed there at that step',
        ),
        (
            {"zones": ZONES, "steps": [{"add": {"hk-02": {"ImageSet": "x"}}}]},
            "steps[1].add.hk-02.ImageSet: 'x' must be a list, as in [\"x\"]",
        ),
        ({"zones": ZONES, "accounts": [{"private_key": "x"}]}, "accounts[1].public_key: is missing"),
        ({"zones": ZONES, "accounts": {"name": "x"}}, "accounts: must be a list"),
        ({"zones": ZONES, "quirks": "no-total"}, "quirks: 'no-total' must be a list, as in [\"no-total\"]"),
        (listing("G"), "images.hk-02.ImageSet[1]._when: must be an object"),
        (
            listing({"MachinType": "G"}),
            "images.hk-02.ImageSet[1]._when.MachinType: is no condition; did you mean MachineType?",
        ),
        (listing({"K8sVersion": 1.30}), "images.hk-02.ImageSet[1]._when.K8sVersion: must be a text or a list of texts"),
        (
            {"zones": ZONES, "inventory": {"uhost-image": {"hk-02": [{"_when": {"MachineType": "G"}}]}}},
            "inventory.uhost-image.hk-02[1]._when: only records of images have conditions",
        ),
        (
            {"zones": ZONES, "accounts": [{"public_key": "a", "private_key": "b", "projects": "org-a"}]},
            "accounts[1].projects: 'org-a' must be a list, as in [\"org-a\"]",
        ),
        (
            {"zones": ZONES, "accounts": [{"name": n, "public_key": "secret", "private_key": "b"} for n in "xy"]},
            'accounts: account "y" has a public key that is listed twice',
        ),
    ],
)
def test_each_problem_is_one_sentence(document: Any, sentence: str) -> None:
    """A wrong file is told what is wrong, where, and what was probably meant."""
    assert sentence in problems_of(document)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({}, "says nothing that happens; add one of ret_code, status, drop, cut, hang, empty, html, body, images, lat"),
        ({"drop": True, "hang": True}, ": drop and hang exclude each other; keep one"),
        ({"drop": False}, ".drop: false must be true, or left out"),
        ({"ret_code": "150"}, ".ret_code: '150' must be a whole number"),
        ({"status": 1000}, ".status: 1000 must be at most 599"),
        ({"status": 503, "retry_after": [1]}, ".retry_after: must be a number of seconds or a date as HTTP writes it"),
        (
            {"status": 503, "retry_after": "soon"},
            ".retry_after: 'soon' must be a number of seconds or a date as",
        ),
        ({"status": 503, "retry_after": "1\r\nX: y"}, "must be a number of seconds or a date as HTTP writes it"),
        ({"drop": True, "retry_after": 3}, ": retry_after goes with a status or a ret_code, and there is neither"),
        ({"drop": True, "message": "no"}, ": message is that of a ret_code, which is missing"),
        ({"latency_ms": -1}, ".latency_ms: -1 must be at least 0"),
        (
            {"drop": True, "attempts": 0},
            '.attempts: 0 must be a number from 1 up, a list of them or a range such as "2-4"',
        ),
        ({"drop": True, "attempts": "4-2"}, ".attempts: '4-2' must be a number from 1 up"),
        ({"drop": True, "attempts": "1-" + "9" * 5_000}, ".attempts: must be a number from 1 up"),
        ({"drop": True, "steps": "1-999999999"}, ".steps: there is no step 999999999, the timeline has 1"),
        ({"drop": True, "attempts": [True]}, ".attempts: must be a number from 1 up"),
        ({"drop": True, "steps": 7}, ".steps: there is no step 7, the timeline has 1"),
        ({"drop": True, "zone": 5}, ".zone: 5 must be a text"),
        ({"drop": True, "zone": "hk-20"}, '.zone: no zone is called "hk-20"; did you mean hk-02?'),
        ({"drop": True, "region": "hk-02"}, '.region: no region is called "hk-02"'),
        ({"drop": True, "account": "prod"}, '.account: no account is called "prod"'),
        ({"drop": True, "zones": "hk-*"}, ".zones: is no key; did you mean zone?"),
    ],
)
def test_each_problem_of_a_fault(fault: dict[str, Any], sentence: str) -> None:
    """A fault must say whom it hits and one thing that happens."""
    found = problems_of({"zones": ZONES, "faults": [fault]})

    assert any(problem.startswith("faults[1]") and sentence in problem for problem in found), found


def test_a_fault_of_a_step_names_no_steps() -> None:
    """Inside a step a fault holds for that step, and is told so when it says otherwise."""
    found = problems_of({"zones": ZONES, "steps": [{"faults": [{"drop": True, "steps": 1}]}]})

    assert found == [
        "steps[1].faults[1].steps: a fault inside a step holds for that step alone; move it to the top level"
    ]


def test_all_problems_come_at_once() -> None:
    """Nothing hides behind the first problem, and the whole message has a line for each."""
    document = {"zones": [{}], "schema": 1, "quirks": ["x"], "steps": [{"titel": "a"}]}
    with pytest.raises(ConfigurationError) as caught:
        parse_timeline(document, source="mine.json")

    assert len(caught.value.problems) == 5
    assert str(caught.value).startswith("mine.json: 5 problems\n")
    assert len(str(caught.value).splitlines()) == 6


def test_files_that_are_none(tmp_path: Path) -> None:
    """A missing file and one that is not JSON are problems of that file."""
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    for path, words in ((broken, "not JSON"), (tmp_path / "none.json", "cannot be read: No such file")):
        with pytest.raises(ConfigurationError, match=words) as caught:
            load_timeline(path)
        assert caught.value.source == str(path)


def test_least_timeline() -> None:
    """Zones are all a timeline needs: one step, one project, the example account, the newer schema."""
    timeline = parse_timeline({"zones": ZONES})

    (world,) = timeline.worlds
    (account,) = timeline.accounts
    assert (world.schema, [row.project_id for row in world.projects]) == ("2026", ["org-example"])
    assert (account.public_key, account.private_key) == (EXAMPLE_PUBLIC_KEY, EXAMPLE_PRIVATE_KEY)
    assert EXAMPLE_PRIVATE_KEY not in repr(account)
    with pytest.raises(ValueError, match="step 2 does not exist"):
        timeline.world(2)


def test_numbers_may_be_ranges() -> None:
    """Steps and attempts are a number, a list or a range."""
    faults = [{"drop": True, "attempts": attempts} for attempts in (2, [1, 3], "2-4")]

    (world,) = make_timeline(faults=faults).worlds

    assert [sorted(fault.attempts) for fault in world.faults] == [[2], [1, 3], [2, 3, 4]]


def test_open_ranges() -> None:
    """From the second attempt on, as long as anybody asks: a long range takes no longer to read than a short one."""
    (world,) = make_timeline(faults=[{"drop": True, "attempts": "2-999999999"}]).worlds

    assert [number in world.faults[0].attempts for number in (1, 2, 999_999_999)] == [False, True, True]


def test_one_mistake_is_one_problem() -> None:
    """A step that takes something out of a zone that is none is told of the zone alone."""
    document = {"zones": ZONES, "steps": [{}, {"remove": {"hk-20": ["uimage-a"]}}]}

    assert problems_of(document) == ['images: no zone is called "hk-20"; did you mean hk-02?']


def test_nothing_is_a_schema_left_out() -> None:
    """A null counts as left out, with the schema as with the other keys, and a year may be a number."""
    assert [make_timeline(schema=given).worlds[0].schema for given in (None, 2020)] == ["2026", "2020"]


def test_steps_change_what_is_listed_and_no_more() -> None:
    """Taking a record out leaves what is no list; a project that one record is added for goes on seeing the others."""
    one, two = ({"ImageId": f"uimage-{letter}"} for letter in "ab")
    timeline = make_timeline(
        zones={"hk-02": {"ImageSet": [one, two], "TotalCount": 2, "PHostImageSet": None}},
        projects=["org-a", "org-b"],
        steps=[
            {"add": {"org-b/hk-02": {"CustomImageSet": [one]}}, "remove": {"hk-02": ["uimage-a"]}},
            {"remove": {"org-a/hk-02": ["uimage-b"]}},
        ],
    )
    _, second, third = (world.images for world in timeline.worlds)

    assert second["hk-02"] == {"ImageSet": [two], "TotalCount": 2, "PHostImageSet": None}
    assert second["org-b/hk-02"] == {**timeline.worlds[0].images["hk-02"], "CustomImageSet": [one]}
    assert (third["org-a/hk-02"]["ImageSet"], third["hk-02"]) == ([], second["hk-02"])


def test_every_quirk_is_explained_on_the_format_page() -> None:
    """The page that documents the format points to the quirks, and each has its words."""
    assert "QUIRKS" in (format_page.__doc__ or "")
    assert all(QUIRKS.values())


@pytest.mark.parametrize("name", list(BUILTIN))
def test_builtin_timelines_are_sound(name: str) -> None:
    """What the package ships has no problem, and names its source."""
    timeline = BUILTIN[name]()

    assert timeline.about
    assert all(world.title for world in timeline.worlds)


def test_published_history_keeps_its_sources() -> None:
    """Each published snapshot carries the date and the commit it was taken from."""
    images, regions = published_images(), published_regions()

    assert [len(snapshot["rows"]) for snapshot in images["snapshots"]] == [71, 69]
    assert len(regions["snapshots"]) == 12
    assert [snapshot["blank"] for snapshot in regions["snapshots"]].count(["regions"]) == 1
    for snapshot in (*images["snapshots"], *regions["snapshots"]):
        assert len(snapshot["commit"]) == 40
        assert snapshot["date"].endswith("+08:00")


def test_demo_is_the_published_table() -> None:
    """The first step of the demo holds the rows of the published table, GPU flag inverted, names as spelled there."""
    document = json.loads(demo_path().read_text(encoding="utf-8"))
    history = published_images()
    published = {
        (row["zone"], row["image_id"], f"{row['os']} {row['version']}", not row["gpu_supported"], row["zone_id"])
        for row in (dict(zip(history["fields"], r, strict=True)) for r in history["snapshots"][0]["rows"])
    }

    shown = {
        (zone, record["ImageId"], record["ImageName"], record["NotSupportGPU"], record["ZoneId"])
        for zone, sets in document["images"].items()
        for record in sets["ImageSet"]
    }

    assert shown == published
    assert len(document["sources"]) == 6
