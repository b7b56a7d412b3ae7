"""Names as parts of paths."""

from __future__ import annotations

import re

import pytest

from crawler.web.slugs import LONGEST, link, slug, zone_part
from tests.support.hostile import HOSTILE

SAFE = re.compile(r"[a-zA-Z0-9_%-][a-zA-Z0-9._%-]*")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Ubuntu  20.04", "ubuntu-20.04"),
        ("CentOS 7.6 64位", "centos-7.6-64%E4%BD%8D"),
        ("../x", "%2E.%2Fx"),
        (".", "%2E"),
        ("a/b", "a%2Fb"),
        ("50%", "50%25"),
        ("ubuntu.json", "ubuntu%2Ejson"),
        ("CentOS 7.6 [EOL]", "centos-7.6"),
        ("", ""),
    ],
)
def test_slug(name: str, part: str) -> None:
    """A slug is the normalised name; what is no letter, digit, dot, dash or underscore is percent-encoded."""
    assert slug(name) == part


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:12]))
def test_no_name_leaves_its_folder(name: str) -> None:
    """Whatever a name or a zone is called, its part of a path is one word of bounded length without a leading dot."""
    for part in (slug(name), zone_part(name)):
        assert part == "" or (SAFE.fullmatch(part) and len(part) <= LONGEST)


def test_long_names_differ() -> None:
    """Long names that begin alike have different slugs."""
    assert len({slug("x" * 400 + end) for end in "abc"}) == 3


def test_link() -> None:
    """A server decodes an address once, so that its percent signs are encoded once more."""
    assert link("v1/resolve/hk-02/a%2Fb.json") == "v1/resolve/hk-02/a%252Fb.json"
