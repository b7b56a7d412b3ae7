"""What is selected by globs: one type and one matcher for readers, reports and check rules."""

from __future__ import annotations

import pytest

from crawler.domain.filters import EVERYTHING, Filters, is_glob, known_name, name_fits, named_by, part_fits
from crawler.domain.models import Target
from crawler.domain.subscriptions import Watch
from crawler.queries.check.rules import PinRule, Require

HOME = Target("prod", "org-x", "hk", "hk-02", "uk8s-image", "g-v100")


@pytest.mark.parametrize(
    ("part", "word", "glob", "fits"),
    [
        ("zone", "hk-02", "HK-*", True),
        ("project", "org-x", "ORG-X", True),
        ("account", "prod", "PROD", False),
        ("image_id", "uimage-a", "uimage-?", True),
        ("name", "Ubuntu 20.04", "ubuntu  20.04", True),
        ("name", "Ubuntu 20.04", "UBUNTU*", True),
        ("name", "", "*", True),
        ("zone", "hk-02", "", False),
    ],
)
def test_parts(part: str, word: str, glob: str, fits: bool) -> None:
    """Projects, regions, zones and names are the same in any case; accounts and ids are not."""
    assert part_fits(part, word, [glob]) is fits


def test_targets() -> None:
    """A target is wanted when each of its parts is; its project is meant by its id or its name."""
    assert EVERYTHING.wants(HOME)
    assert Filters(zone=("sg-*", "hk-*"), account=("prod",)).wants(HOME)
    assert not Filters(zone=("hk-*",), variant=("default",)).wants(HOME)
    assert Filters(project=("team*",)).wants(HOME, "Team A")
    assert not Filters(project=("team*",)).wants(HOME)
    assert not Filters(zone=("team*",)).wants(HOME, "Team A")


@pytest.mark.parametrize("glob", ["????", "x*", "*xx*"])
def test_a_project_whose_name_is_not_told(glob: str) -> None:
    """Where nobody says how a project is called it is meant by its id alone."""
    assert not Filters(project=(glob,)).wants(HOME)
    assert not Filters(project=(glob,)).wants(HOME, "")
    assert Filters(project=(glob,)).wants(HOME, "XXXX")


def test_images() -> None:
    """What is no image fits every selection of targets, and none of images."""
    assert Filters(zone=("hk-*",)).wants_image(None, None, None)
    assert not Filters(name=("*",)).wants_image("ImageSet", "uimage-a", None)
    assert Filters(name=("cent*", "ubuntu*")).wants_image("ImageSet", "uimage-a", "Ubuntu")
    assert not Filters(name=("ubuntu*",), image_set=("Custom*",)).wants_image("ImageSet", "uimage-a", "Ubuntu")


def test_given() -> None:
    """Only the parts that leave something out are told."""
    chosen = Filters(zone=("hk-*",), name=("a",))

    assert chosen.given() == {"zone": ("hk-*",), "name": ("a",)}
    assert chosen.given(("zone", "kind")) == {"zone": ("hk-*",)}
    assert EVERYTHING.is_all
    assert not chosen.is_all_images


def test_one_type() -> None:
    """Reports and check rules select with the same type as the readers."""
    assert isinstance(Watch(), Filters)
    assert isinstance(Require(name="a").scope, Filters)
    assert PinRule(image_id="uimage-a").scope is EVERYTHING


def test_leaving_out() -> None:
    """What fits a glob behind `!` is left out, by any of its names; where there is no other glob, all else is meant."""
    assert part_fits("zone", "hk-02", ["*", "!sg-*"])
    assert not part_fits("zone", "SG-01", ["*", "!sg-*"])
    assert part_fits("zone", "hk-02", ["!sg-*"])
    assert not part_fits("zone", "hk-01", ["hk-*", "!hk-01"])
    assert not part_fits("name", "Ubuntu 20.04", ["*", "!ubuntu*"])
    assert not Filters(project=("*", "!Lab")).wants(HOME, "Lab")
    assert Filters(project=("*", "!Lab")).wants(HOME, "Shop")
    assert is_glob("!hk-01")


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("ubuntu20.04", "ubuntu 20.04"),
        ("U buntu 20.04", "ubuntu 20.04"),
        ("Ubuntu 20.04", "Ubuntu 20.04"),
        ("ubuntu2*", "ubuntu2*"),
        ("centos7", "centos7"),  # two names are that
        ("rocky", "rocky"),
        ("", ""),
    ],
)
def test_known_names(wanted: str, meant: str) -> None:
    """A name that is one of those known but for its spaces is that one; where none or several are, it is as written."""
    assert known_name(wanted, ["Ubuntu 20.04", "Cent OS 7", "CentOS 7", ""]) == meant


@pytest.mark.parametrize(
    ("name", "wanted", "fits"),
    [
        ("Ubuntu 20.04", "ubuntu 20.0?", True),
        ("Ubuntu  20.04", "ubuntu 2*", True),
        ("Ubuntu 20.04", "20.04", False),
        ("", "", True),
        (" ", "x", False),
    ],
)
def test_names(name: str, wanted: str, fits: bool) -> None:
    """A name fits a glob as it is written and as it is normalised."""
    assert name_fits(name, wanted) is fits
    assert Filters(name=(wanted,)).wants_name(name) is fits
    assert Filters().wants_name(name)


def test_globs() -> None:
    """What has a star, a question mark or a bracket, or leaves out, is a glob; its words are what stands behind `!`."""
    assert [is_glob(word) for word in ("a*", "a?", "[a", "!a", "a]", "a!", "X", "")] == [True] * 4 + [False] * 4
    assert [named_by(word) for word in ("!hk", "hk", "!!hk")] == ["hk", "hk", "!hk"]
    assert part_fits("name", "a[b]", ["a[b]"])
    assert part_fits("zone", "a[b]", ["A[b]"])
    assert part_fits("gpu_type", "V100", ["v1*"])
    assert not part_fits("kind", "UK8S", ["uk8s"])


def test_images_by_default() -> None:
    """Where no kind is named those of UK8S are meant; a filter of any part of an image leaves some out."""
    assert Filters(zone=("a",)).of_images() == Filters(zone=("a",), kind=("uk8s-image",))
    assert Filters(kind=("x",)).of_images() == Filters(kind=("x",))
    for only in (Filters(image_set=("A",)), Filters(name=("A",)), Filters(image_id=("A",))):
        assert (only.is_all_images, only.is_all) == (False, False)
        assert only.wants_image("A", "A", "A")
        assert not only.wants_image("B", "B", "B")
        assert not only.wants_image(None, None, None)
    assert not Filters(zone=("a",)).is_all
