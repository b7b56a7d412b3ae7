"""How far a reader of the code goes to follow one image: from the answer to the mail, from the words to the row."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import crawler
from crawler.demo import play
from crawler.emulator import run_in_thread
from tests.support.command import NOW, call
from tests.support.driving import Driver, account
from tests.support.smtp import mail_server
from tests.support.worlds import make_record, make_timeline

PACKAGE = str(Path(crawler.__file__).parent)
IMAGE = "uimage-followed"


@dataclass
class Walk:
    """The files that a call goes through, the pairs of which one calls the other, and what carries the image."""

    files: set[str] = field(default_factory=set)
    hops: set[tuple[str, str]] = field(default_factory=set)
    carriers: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        """Return the figures and the files, for whoever has to shorten it."""
        figures = f"{len(self.files)} files, {len(self.hops)} hops, {len(self.carriers)} classes"
        return "\n".join((figures, *sorted(self.files), *sorted(self.carriers)))


def _product(frame: FrameType | None) -> str | None:
    """Return the file of the innermost call of the product, without the emulated cloud; None outside of it."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE):
            return None if "/emulator/" in name else name.removeprefix(f"{PACKAGE}/")
        frame = frame.f_back
    return None


@contextmanager
def followed(handles: Callable[[FrameType, str, Any], Iterator[Any]] | None = None) -> Iterator[Walk]:
    """Note the calls of the product; with *handles* those alone for which it yields values, and their classes."""
    walk = Walk()

    def note(frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        here = _product(frame)
        if here is None or frame.f_code.co_name == "<module>":
            return
        if handles is not None:
            carriers = list(handles(frame, event, value))
            if not carriers:
                return
            walk.carriers.update(
                type(carrier).__qualname__ for carrier in carriers if type(carrier).__module__.startswith("crawler.")
            )
        if not here.endswith(".py"):
            return  # a template
        walk.files.add(here)
        before = _product(frame.f_back)
        if before is not None and before != here:
            walk.hops.add((before, here))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def holding_the_image(frame: FrameType, event: str, value: Any) -> Iterator[Any]:
    """Yield the arguments, or the result, in which the image stands."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    values = [value] if event == "return" else [frame.f_locals.get(name) for name in names]
    for one in values:
        try:
            if IMAGE in repr(one):
                yield one
        except Exception:  # noqa: BLE001 - an object under construction has no repr yet
            continue


def test_one_image_from_the_answer_to_the_mail(tmp_path: Path) -> None:
    """What a run does with one image stands in few files, and few classes carry it."""
    record = make_record(IMAGE, "Ubuntu 22.04", "hk-02")
    timeline = make_timeline(steps=[{"add": {"hk-02": {"ImageSet": [record]}}}])
    with run_in_thread(timeline) as cloud, mail_server() as mails:
        driver = Driver(tmp_path, str(tmp_path / "crawler.db")).configure(
            account(cloud.url),
            smtp={"host": "127.0.0.1", "port": mails.port, "from": "crawler@example.com", "security": "none"},
            reports=[{"name": "sre", "to": ["sre@example.com"]}],
        )
        driver.run()
        cloud.advance()
        with followed(holding_the_image) as walk:
            driver.run()

    assert IMAGE in mails.mails[-1].text
    assert len(walk.files) <= 37, str(walk)
    assert len(walk.hops) <= 60, str(walk)
    assert len(walk.carriers) <= 29, str(walk)


def test_the_images_of_a_moment(tmp_path: Path) -> None:
    """What `images --at` goes through stands in few files."""
    database = tmp_path / "demo.db"
    play(database, clock=lambda: NOW)
    words = ("--database", database, "images", "--at", "now", "--zone", "hk-02")
    call(*words)
    with followed() as walk:
        call(*words)

    assert len(walk.files) <= 32, str(walk)
    assert len(walk.hops) <= 58, str(walk)
