"""`where --svg` and `history --svg`: a picture that stands alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest
from sqlalchemy import Engine

from crawler.db.pruning import prune
from crawler.domain.models import is_storable
from tests.support.command import call
from tests.support.diary import Diary, Refusal, target
from tests.support.hostile import HOSTILE

SVG = "{http://www.w3.org/2000/svg}"
ZONES = [target(f"hk-0{number}") for number in range(1, 4)]


@pytest.fixture
def diary(engine: Engine) -> Diary:
    made = Diary(engine)
    for image in ("uimage-a", "uimage-b"):
        made.run({zone: {image: "Ubuntu 20.04", "uimage-x": "CentOS 7.6"} for zone in ZONES})
    made.run(
        {ZONES[0]: Refusal(), **{zone: {"uimage-b": "Ubuntu 20.04", "uimage-x": "CentOS 7.6"} for zone in ZONES[1:]}}
    )
    return made


def bars(root: Element) -> list[Element]:
    """Return the bars of a picture."""
    return root.findall(f"{SVG}svg")


def kinds(bar: Element) -> list[str]:
    return [part.get("class", "") for part in bar.findall(f"{SVG}rect")][1:]


@pytest.mark.parametrize("command", ["where", "history"])
def test_picture(command: str, database_url: str, diary: Diary, tmp_path: Path) -> None:
    """A bar for each zone, with a part for each id by turns, and a hatched one where nobody knew."""
    file = tmp_path / "picture.svg"
    words = ("--database", database_url, command, "Ubuntu 20.04", "--svg", file)
    result = call(*words, now=diary.now + timedelta(hours=1))
    root = fromstring(file.read_text(encoding="utf-8"))

    assert str(file) in result.stderr.replace("\n", "")
    assert [kinds(bar) for bar in bars(root)] == [["a", "b", "u"], ["a", "b"], ["a", "b"]]
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {"Ubuntu 20.04", "hk-01", "hk-02", "hk-03", "uimage-b unknown", "not known"} <= set(texts)
    assert "href" not in file.read_text()
    assert "<script" not in file.read_text()


def test_picture_of_the_past(database_url: str, diary: Diary, tmp_path: Path) -> None:
    """Of a past moment the picture says what was there then."""
    file = tmp_path / "picture.svg"
    at = (diary.now - timedelta(minutes=10)).isoformat()
    call("--database", database_url, "where", "Ubuntu 20.04", "--at", at, "--svg", file, now=diary.now)

    assert "uimage-b" in file.read_text()
    assert "unknown" not in file.read_text()


def test_what_is_on_hold_hides_no_other(database_url: str, engine: Engine, tmp_path: Path) -> None:
    """An image on hold is hatched by itself: beside it others of the name are there for sure."""
    diary = Diary(engine)
    listed: dict[str, str] = {"uimage-x": "CentOS 7.6"}
    for image in ("uimage-a", "uimage-b", "uimage-c"):
        listed[image] = "Ubuntu 20.04"
        diary.run({ZONES[0]: listed})
    diary.run({ZONES[0]: {"uimage-b": "Ubuntu 20.04", "uimage-c": "Ubuntu 20.04"}})
    file = tmp_path / "picture.svg"
    for command in ("where", "history"):
        call("--database", database_url, command, "Ubuntu 20.04", "--svg", file, now=diary.now)
        (bar,) = bars(fromstring(file.read_text(encoding="utf-8")))
        assert kinds(bar) == ["a", "u", "b", "a"], command


def test_nothing_is_drawn_of_what_was_pruned(database_url: str, engine: Engine, diary: Diary, tmp_path: Path) -> None:
    """A picture begins with the kept history, before which nobody can tell what was known; `history` says so."""
    began = diary.now
    for number in range(1, 9):
        here = Refusal() if number == 2 else {"uimage-b": "Ubuntu 20.04", "uimage-x": "CentOS 7.6"}
        diary.run(dict.fromkeys(ZONES, here), at=began + timedelta(days=number))
    file = tmp_path / "picture.svg"

    def drawn(command: str) -> tuple[list[list[str]], bool]:
        words = ("--database", database_url, command, "Ubuntu 20.04", "--svg", file)
        told = call(*words, now=diary.now + timedelta(minutes=1)).stderr
        root = fromstring(file.read_text(encoding="utf-8"))
        return [kinds(bar) for bar in bars(root)][1:], "was pruned" in " ".join(told.split())

    for command in ("history", "where"):
        assert drawn(command) == ([["a", "b", "u"]] * 2, False)
    prune(engine, None, before=began + timedelta(days=5), now=diary.now)
    assert drawn("history") == ([["b"]] * 2, True)
    assert drawn("where") == ([["b"]] * 2, False)
    assert 'class="b" x="0%" width="100%"' in file.read_text().replace(' height="18"', "")


def test_hostile_names(database_url: str, engine: Engine, tmp_path: Path) -> None:
    """Whatever an image is called, the picture is whole and has no element of its making."""
    names = [name for name in HOSTILE if name.strip() and is_storable(name)]
    diary = Diary(engine)
    diary.run({ZONES[0]: {f"uimage-{number}<b>": name for number, name in enumerate(names)}})
    for number in range(len(names)):
        file = tmp_path / f"{number}.svg"
        call("--database", database_url, "history", f"uimage-{number}<b>", "--svg", file, now=diary.now)
        known = {f"{SVG}{tag}" for tag in ("svg", "title", "style", "defs", "pattern", "rect", "text")}
        assert {part.tag for part in fromstring(file.read_text(encoding="utf-8")).iter()} <= known


def test_no_such_folder(database_url: str, diary: Diary, tmp_path: Path) -> None:
    """A file that cannot be written is told in one sentence."""
    file = tmp_path / "nowhere" / "picture.svg"
    result = call("--database", database_url, "where", "Ubuntu 20.04", "--svg", file, now=diary.now, code=2)

    assert "No such file or directory" in result.stderr
