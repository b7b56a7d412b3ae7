"""Forty files as people and tools write them, and the pins in each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.domain.scanner import FoundPin, Scanned, scan

CORPUS = Path(__file__).parent / "corpus"
PLANTED = "pl4nted-s3cret"


def expectations() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (CORPUS / "expected.txt").read_text().splitlines():
        if line.startswith("  "):
            found[list(found)[-1]].append(line.strip())
        elif not line.startswith("#"):
            found[line] = []
    return found


EXPECTED = expectations()


def told(scanned: Scanned) -> Iterator[str]:
    for pin in scanned.pins:
        mark = "" if scanned.is_source else "!"
        words = (str(pin.line), pin.image_id, pin.zone or "-", pin.effect, pin.address, mark)
        yield " ".join(word for word in words if word)


def at_its_place(text: str, pin: FoundPin) -> bool:
    line = text.removeprefix("\ufeff").split("\n")[pin.line - 1]
    return text.startswith(pin.image_id, pin.at) and line.startswith(pin.image_id, pin.column - 1)


def test_size_of_the_corpus() -> None:
    """The corpus has forty files, each with its expectation, and a secret planted in every one."""
    files = {path.name for path in CORPUS.iterdir()} - {"expected.txt"}

    assert files == EXPECTED.keys()
    assert len(files) >= 40
    assert [name for name in files if PLANTED not in (CORPUS / name).read_text()] == []


@pytest.mark.parametrize("form", ["as it is", "CRLF", "BOM"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_pins_of_a_file(name: str, form: str) -> None:
    """Exactly the expected pins are found, at their places, whatever ends the lines and begins the file."""
    text = (CORPUS / name).read_text()
    text = {"as it is": text, "CRLF": text.replace("\n", "\r\n"), "BOM": f"\ufeff{text}"}[form]
    scanned = scan(text, name)

    assert list(told(scanned)) == EXPECTED[name]
    assert all(at_its_place(text, pin) for pin in scanned.pins)
    assert PLANTED not in repr(scanned)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_torn_file(name: str) -> None:
    """A file that ends anywhere is read to there: no error, and nothing that is no id."""
    text = (CORPUS / name).read_text()
    for end in range(0, len(text), 7):
        assert PLANTED not in repr(scan(text[:end], name))
