"""Variants: the same question with other parameters is another target, with a history of its own."""

from __future__ import annotations

from typing import Any

from crawler.emulator import Timeline, run_in_thread
from tests.support.driving import Driver, account, asked
from tests.support.worlds import make_record, make_timeline

V100 = {"name": "g-v100", "MachineType": "G", "GPUType": "V100"}


def gpu_cloud() -> Timeline:
    """Make a cloud of 2026 where one image is for everybody, one for GPUs of type V100, and one for the default."""
    records = [
        make_record("uimage-all", "Ubuntu 22.04", "hk-02", _when={"MachineType": "*"}),
        make_record("uimage-gpu", "Ubuntu 22.04 CUDA", "hk-02", _when={"MachineType": "G", "GPUType": ["V100", "A*"]}),
        make_record("uimage-o", "CentOS 7.6", "hk-02", _when={"MachineType": "O"}),
    ]
    later = [make_record("uimage-gpu2", "Ubuntu 22.04 CUDA", "hk-02", _when={"MachineType": "G", "GPUType": "V100"})]
    return make_timeline(
        zones={"hk-02": records}, steps=[{"remove": {"hk-02": ["uimage-gpu"]}, "add": {"hk-02": later}}]
    )


def listed(driver: Driver, *words: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in driver.rows("images", *words):
        found.setdefault(row["variant"], set()).add(row["image_id"])
    return found


def test_variant(driver: Driver) -> None:
    """A GPU variant is asked with its parameters beside the default, and a re-issue there is a change there alone."""
    with run_in_thread(gpu_cloud()) as cloud:
        driver.configure(account(cloud.url, variants=[V100]))
        ran = driver.run()
        assert {frozenset((line.params.get("MachineType"), line.params.get("GPUType"))) for line in asked(cloud)} == {
            frozenset({None}),
            frozenset({"G", "V100"}),
        }
        assert ran.targets == {"total": 2, "ok": 2}
        assert listed(driver) == {"default": {"uimage-all", "uimage-o"}, "g-v100": {"uimage-all", "uimage-gpu"}}
        assert listed(driver, "--variant", "g-*") == {"g-v100": {"uimage-all", "uimage-gpu"}}

        cloud.step = 2
        assert driver.run().changes == {"appeared": 1, "withdrawn": 1}
        only = driver.run("--variant", "g-v100")

    assert only.targets == {"total": 1, "ok": 1}
    assert {(row["variant"], row["event"], row["image_id"], row["counterpart"]) for row in driver.rows("changes")} == {
        ("g-v100", "withdrawn", "uimage-gpu", "uimage-gpu2"),
        ("g-v100", "appeared", "uimage-gpu2", "uimage-gpu"),
    }


def test_new_variant(driver: Driver) -> None:
    """A variant that is added to a watched account is a new target: a baseline, and one `target_added`."""
    with run_in_thread(gpu_cloud()) as cloud:
        driver.configure(account(cloud.url)).run()
        ran = driver.configure(account(cloud.url, variants=[V100])).run()

    assert ran.summary["baseline"] == {"targets": 1, "images": 2}
    assert ran.changes == {"target_added": 1}
    assert [(row["event"], row["variant"]) for row in driver.rows("changes")] == [("target_added", "g-v100")]


def test_removed_variant(driver: Driver) -> None:
    """A variant that is configured no more is deselected: no change, no report, its images leave the present."""
    with run_in_thread(gpu_cloud()) as cloud:
        driver.configure(account(cloud.url, variants=[V100])).run()
        ran = driver.configure(account(cloud.url)).run()
        assert (ran.targets, ran.changes) == ({"total": 1, "ok": 1}, {})
        assert listed(driver).keys() == {"default"}
        shown = driver.rows("images", "--retired", "--variant", "g-v100")
        assert {(row["state"], row["reason"]) for row in shown} == {("unknown", "deselected")}

        back = driver.configure(account(cloud.url, variants=[V100])).run()
    assert (back.targets, back.changes) == ({"total": 2, "ok": 2}, {})


def test_changed_parameters(driver: Driver) -> None:
    """
    Other parameters under a used name are a configuration error (2) that names both, before anything is asked.

    Nothing is recorded but that it was told.
    """
    with run_in_thread(gpu_cloud()) as cloud:
        driver.configure(account(cloud.url, variants=[V100])).run()
        before, tables = len(cloud.log), driver.row_counts()
        said = driver.configure(account(cloud.url, variants=[{**V100, "GPUType": "A100"}])).call("run", code=2).stderr
        assert len(cloud.log) == before

    assert "g-v100" in said
    assert "V100" in said
    assert "A100" in said
    assert driver.row_counts() == {**tables, "conditions": 1}


def test_changed_parameters_are_found_before_a_run(driver: Driver) -> None:
    """A dry run fails as the run would (2), with the changed variants of every account; offline too."""
    with run_in_thread(gpu_cloud()) as cloud:
        names = ("prod", "test")
        driver.configure(*(account(cloud.url, name=name, variants=[V100]) for name in names)).run()
        driver.configure(*(account(cloud.url, name=name, variants=[{**V100, "GPUType": "A100"}]) for name in names))
        for words in (("run", "--dry-run"), ("run", "--dry-run", "--offline"), ("run",)):
            said = driver.call(*words, code=2).stderr
            assert "2 problems" in said
            assert all(f"{name}: variant 'g-v100' was used with " in said for name in names)


def test_older_brand(light: Driver) -> None:
    """A brand of 2020 ignores the parameters: the variant is a target like another, and nothing breaks."""
    images: dict[str, Any] = {"hk-02": {"uimage-a": "Ubuntu 20.04"}}
    with run_in_thread(make_timeline(zones=images, schema="2020")) as cloud:
        ran = light.configure(account(cloud.url, variants=[V100])).run()

    assert ran.targets == {"total": 2, "ok": 2}
    assert listed(light) == {"default": {"uimage-a"}, "g-v100": {"uimage-a"}}
