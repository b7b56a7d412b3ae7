"""The picture of the packages is the import contract's."""

from __future__ import annotations

from tests.support.package_picture import PICTURE, layers, picture, pure


def test_picture() -> None:
    """`docs/packages.svg` shows each layer of the contract; `python -m tests.support.package_picture` makes it."""
    assert PICTURE.read_text(encoding="utf-8") == picture(layers(), pure())
