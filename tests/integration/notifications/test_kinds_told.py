"""What mails say of kinds beside UK8S images: endings, versions, machine types, node groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from crawler.emulator import run_in_thread
from tests.support.driving import Driver, account
from tests.support.kinds import cluster, kinds_timeline, machine_type, uhost_image, version
from tests.support.smtp import mail_server

#: Runs once at a step of the story, so many hours after the last run, and gives what was mailed: subjects and texts.
Run = Callable[..., list[str]]


@contextmanager
def told(folder: Path, *inventories: Mapping[str, Any], **report: Any) -> Iterator[Run]:
    """Play *inventories*, a step each, to one who gets a mail after every run."""
    folder.mkdir(exist_ok=True)
    user = Driver(folder, str(folder / "history.db"))
    steps = [{"inventory": inventory} for inventory in inventories[1:]]
    with run_in_thread(kinds_timeline(inventories[0], steps=steps)) as cloud, mail_server() as server:
        smtp = {"host": "127.0.0.1", "port": server.port, "security": "none", "from": "crawler@example.com"}
        rows = [{"name": "ops", "to": ["ops@example.com"], "when": "every-run", "timezone": "UTC", **report}]

        def run(step: int, hours: float = 0, **asked: Any) -> list[str]:
            wanted = {"kinds": ["uk8s-image", *inventories[0]], **asked}
            user.configure(account(cloud.url, **wanted), smtp=smtp, reports=rows)
            user.now += timedelta(hours=hours)
            cloud.step = step
            before = len(server.mails)
            user.run(code=None)
            return [f"{mail.message['Subject']}\n{mail.text}" for mail in server.mails[before:]]

        yield run


def lines(texts: Sequence[str], word: str) -> list[str]:
    return [" ".join(line.split()) for text in texts for line in text.splitlines() if word in line]


DAY = 24.0


def test_endings(tmp_path: Path) -> None:
    """Notices 90, 30 and 7 days before come once each; of what was due at the first look only a pinned image's."""
    # the first run is on 23 November 2026
    ending = [
        uhost_image(1, MaintainEol="2027/02/24"),
        uhost_image(2, MaintainEol="2026/12/10"),
        uhost_image(4, MaintainEol="2026/12/11"),
    ]
    inventory = {"uhost-image": {"hk-02": [*ending, uhost_image(5)]}}
    with told(tmp_path, inventory, pins=["hk-02 uimage-u00004"]) as run:
        first = run(1)
        again = run(1)
        ninety = run(1, 3 * DAY)
        seven = run(1, 7 * DAY)
        pinned = run(1, DAY)
        quiet = run(1, DAY) + run(1, DAY)
        thirty = run(1, 50 * DAY)

    assert lines(first, "uimage-u0000") == [
        "hk-02 CentOS 4 64位 uimage-u00004 until 11 Dec notice 30 days before; pinned",
        "1 pinned image: hk-02 uimage-u00004",
    ]
    assert "1 image ends" in first[0]
    assert again == []
    assert lines(ninety, "until") == ["hk-02 CentOS 1 64位 uimage-u00001 until 24 Feb 2027 notice 90 days before"]
    assert lines(seven, "until") == ["hk-02 CentOS 2 64位 uimage-u00002 until 10 Dec notice 7 days before"]
    assert lines(pinned, "until") == ["hk-02 CentOS 4 64位 uimage-u00004 until 11 Dec notice 7 days before; pinned"]
    assert quiet == []
    assert lines(thirty, "until") == ["hk-02 CentOS 1 64位 uimage-u00001 until 24 Feb notice 30 days before"]


def test_endings_of_what_is_left_out_for_a_while(tmp_path: Path) -> None:
    """A notice comes once, also where nobody asked in between, which was told; the next one comes in its time."""
    inventory = {"uhost-image": {"hk-02": [uhost_image(4, MaintainEol="2026/12/11")]}}
    with told(tmp_path, inventory, pins=["hk-02 uimage-u00004"]) as run:
        first = run(1)
        without = run(1, 1, kinds=["uk8s-image"])
        back = run(1, DAY)
        without_again = run(1, 2 * DAY, kinds=["uk8s-image"])
        seven = run(1, 10 * DAY)

    assert lines(first, "until") == ["hk-02 CentOS 4 64位 uimage-u00004 until 11 Dec notice 30 days before; pinned"]
    assert [len(mails) for mails in (without, back, without_again)] == [1, 1, 1]
    assert lines([*without, *back, *without_again], "until") == []
    assert lines(seven, "until") == ["hk-02 CentOS 4 64位 uimage-u00004 until 11 Dec notice 7 days before; pinned"]


def test_end_of_a_machine_s_image(tmp_path: Path) -> None:
    """The image of a machine in a file is pinned, in whatever zone, where somebody lists it; another is no news."""
    machine = 'resource "ucloud_instance" "%s" {\n  image_id = "%s"\n}\n'
    (tmp_path / "machines.tf").write_text(machine % ("a", "uimage-u00004") + machine % ("b", "uimage-own"))
    inventory = {"uhost-image": {"hk-02": [uhost_image(4, MaintainEol="2026/12/11"), uhost_image(5)]}}
    with told(tmp_path, inventory, pins_from=[str(tmp_path / "machines.tf")]) as run:
        (first,) = run(1)
        assert run(1) == []

    assert lines([first], "until") == ["hk-02 CentOS 4 64位 uimage-u00004 until 11 Dec notice 30 days before; pinned"]
    assert "uimage-own" not in first


def test_every_kind_in_words(tmp_path: Path) -> None:
    """A mail calls versions, machine types, node groups and other images by what they are, and where."""
    before = {
        "uhost-image": {"hk-02": [uhost_image(1), uhost_image(2)]},
        "uk8s-version": {"hk": [version("1.28.15"), version("1.30.14"), version("1.32.9")]},
        "instance-type": {"hk-02": [machine_type("O"), machine_type("V100")]},
        "node-group": {"hk": [cluster("blue")]},
    }
    after = {
        "uhost-image": {"hk-02": [uhost_image(1, State="Unavailable"), uhost_image(2)]},
        "uk8s-version": {"hk": [version("1.30.14"), version("1.32.9"), version("1.34.1")]},
        "instance-type": {"hk-02": [machine_type("O"), machine_type("V100", "Soldout")]},
        "node-group": {"hk": [cluster("blue", "uimage-new")]},
    }
    with told(tmp_path / "en", before, after) as run:
        run(1)
        (english,) = run(2)
    with told(tmp_path / "zh", before, after, language="zh") as run:
        run(1)
        (chinese,) = run(2)

    shown = " ".join(english.split())
    for words in (
        "hk Kubernetes 1.28.15 between",
        "hk Kubernetes 1.34.1 between",
        "hk-02 machine type V100",
        "status: Normal → Soldout",
        "hk node group ng-blue",
        "hk node group asg-blue",
        "image of the next node: uimage-vareox → uimage-new",
        "hk-02 UHost image CentOS 1 64位 (Base) uimage-u00001",
        "can be booted: yes → no",
        "state: Available → Unavailable",
        "Observed 1 of 1 zone at",
    ):
        assert words in shown, (words, english)
    for words in ("Kubernetes 1.28.15", "机型 V100", "节点池", "云主机镜像 CentOS 1 64位", "新节点所用镜像"):
        assert words in chinese, (words, chinese)


def test_a_pinned_image_that_cannot_be_used(tmp_path: Path) -> None:
    """A mail says of a pinned image that it is listed and cannot be used, with its state, what to use, and the end."""
    rocky = [uhost_image(number, ImageName="Rocky 9") for number in (1, 2)]

    def listed(*states: str) -> dict[str, Any]:
        images = [{**image, "State": state} for image, state in zip(rocky, states, strict=False)]
        return {"uhost-image": {"hk-02": images}}

    story = [listed("Available"), listed("Unavailable"), listed("Unavailable", "Available"), listed("Available")]
    said: dict[str, list[str]] = {}
    for language in ("en", "zh"):
        pins = {"pins": ["hk-02 uimage-u00001"], "language": language}
        with told(tmp_path / language, *story, **pins) as run:
            run(1)
            said[language] = [mail for step in (2, 3, 4) for mail in run(step)]

    broken, succeeded, well = said["en"]
    assert broken.startswith("Pinned image not usable in hk-02")
    assert lines([broken], "cannot be used") == [
        "hk-02 Rocky 9 uimage-u00001 is listed, but cannot be used (Unavailable). There is no successor"
    ]
    assert "cannot be used (Unavailable). Use uimage-u00002" in " ".join(succeeded.split())
    assert "uimage-u00001 is listed as it should be" in " ".join(well.split())
    broken, succeeded, _ = said["zh"]
    assert broken.startswith("hk-02 在用镜像目前不可用")
    assert "uimage-u00001 仍在列，但目前不可用（Unavailable），无替代镜像" in broken
    assert "（Unavailable），请改用 uimage-u00002" in succeeded


def test_node_groups_that_are_not_asked_for_a_while(tmp_path: Path) -> None:
    """What was told of the images of node groups is not told again once these are asked for again."""
    groups = {"node-group": {"hk": [cluster("blue", "uimage-none")]}}
    before = {**groups, "uhost-image": {"hk-02": [uhost_image(1)]}}
    after = {**groups, "uhost-image": {"hk-02": [uhost_image(1), uhost_image(2)]}}
    with told(tmp_path, before, after, pins_from=["live"]) as run:
        first = run(1)
        without = run(2, kinds=["uk8s-image", "uhost-image"])
        back = run(2)

    assert "Pinned" in first[0]
    assert [len(mails) for mails in (first, without, back)] == [1, 1, 0]


def test_stock_alone(tmp_path: Path) -> None:
    """What is sold out or sold again is mailed at most daily, and then all of it; with other news it goes at once."""

    def stock(*states: str) -> dict[str, Any]:
        types = [machine_type(name, state) for name, state in zip(("O", "G"), states, strict=True)]
        return {"instance-type": {"hk-02": types}, "uk8s-version": {"hk": [version("1.30.14")]}}

    other = {**stock("Normal", "Normal"), "uk8s-version": {"hk": [version("1.30.14"), version("1.32.9")]}}
    story = [stock("Normal", "Normal"), stock("Soldout", "Normal"), stock("Soldout", "Soldout"), other]
    with told(tmp_path, *story) as run:
        run(1)
        first = run(2)
        soon = run(3) + run(3, 10)
        later = run(3, 13)
        with_news = run(4)

    assert len(lines(first, "Normal → Soldout")) == 1
    assert soon == []
    assert lines(later, "machine type G")
    assert lines(later, "Observed 1 of 1 zone at")  # the region that is asked for versions is none
    assert "Kubernetes 1.32.9" in with_news[0]
    assert "Soldout → Normal" in with_news[0]
