"""When two image names are one name."""

from __future__ import annotations

import pytest

from crawler.domain.models import LONGEST_NAME, normalise_name


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("UBuntu  20.04 ", "ubuntu 20.04"),
        ("Ｕｂｕｎｔｕ 20.04", "ubuntu 20.04"),
        ("CentOS 7.6「EOL」", "centos 7.6"),
        ("CentOS 7.6 - 「eol」", "centos 7.6"),
        ("「EOL」", "「eol」"),
        ("CentOS 7.6 64位", "centos 7.6 64位"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("", ""),
    ],
)
def test_normalised(name: str, same: str) -> None:
    """Width, case, spaces and the vendor's EOL marker make no other name; anything else does."""
    assert normalise_name(name) == same


def test_long_names() -> None:
    """A name that is too long becomes its beginning and a digest, whatever characters are in it."""
    names = ["x" * LONGEST_NAME, "x" * (LONGEST_NAME + 1), "x" * LONGEST_NAME + "y", "\ud800" * (LONGEST_NAME + 1)]
    first, second, third, odd = map(normalise_name, names)

    assert first == names[0]
    assert len({second, third, odd}) == 3
    for found, name in ((second, names[1]), (third, names[2]), (odd, names[3])):
        assert found.startswith(f"{name[:40]}… ")
        assert len(found) == 42 + 64
