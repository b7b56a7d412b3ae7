"""Words of a selection, and of reports, that match nothing."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.domain.models import Catalog, Place, Project, Target
from crawler.domain.subscriptions import Pin
from crawler.domain.targets import KnownTarget, Selection
from crawler.domain.unmatched import misses, of_report, unmatched

PLACES = tuple(Place(zone.rpartition("-")[0], zone) for zone in ("cn-bj2-02", "hk-01", "hk-02", "sg-01"))
LISTED = Catalog(projects=(Project("org-a", "Default"), Project("org-b", "Lab")), places=PLACES)


@pytest.mark.parametrize(
    ("selection", "sentences"),
    [
        ({}, []),
        ({"zones": ("cn-*", "HK-02", "!sg-*"), "projects": ("lab", "org-a"), "regions": ("*",)}, []),
        ({"projects": ("default", "!default")}, []),
        ({"projects": ("ORG-*",), "regions": ("CN-*",), "zones": ("CN-*", "!HK-0?")}, []),
        (
            {"zones": ("cn-*", "hk-2", "!sgg-*")},
            [
                'accounts.zones: "hk-2" matches no zone of the account; the nearest: hk-02, hk-01',
                'accounts.zones: "!sgg-*" leaves out no zone of the account; the nearest: sg-01',
            ],
        ),
        (
            {"regions": ("hk", "mars")},
            ['accounts.regions: "mars" matches no region of the account; known: cn-bj2, hk, sg'],
        ),
        (
            {"projects": ("org-a", "Labb")},
            ['accounts.projects: "Labb" matches no project of the account; the nearest: Lab'],
        ),
        (
            {"regions": ("hk",), "zones": ("hk-*", "sg-01", "!cn-*")},
            ['accounts.zones: "sg-01" matches no zone of the selected regions'],
        ),
    ],
)
def test_words_of_a_selection(selection: dict[str, Any], sentences: list[str]) -> None:
    """Each word that matches nothing listed is told with its setting and the nearest; what matches is not."""
    assert [one.sentence for one in unmatched(Selection(account="prod", **selection), LISTED)] == sentences


def test_projects_that_are_not_listed() -> None:
    """Where the projects are not listed nobody knows whether one is there; of no list at all nothing is said."""
    selection = Selection(account="prod", projects=("org-x",), zones=("hk-2",), regions=("x",))
    unlisted = Catalog(projects=(), places=PLACES, is_listed=False)
    assert [one.word for one in unmatched(selection, unlisted)] == ["x", "hk-2"]
    assert list(unmatched(selection, Catalog(projects=(), places=()))) == []


def test_what_was_known() -> None:
    """What a target that is known matches is no slip, unless its region is not selected."""
    known = [
        KnownTarget(
            target=Target("prod", "org-old", "us-ca", "us-ca-01", "uk8s-image"), target_id=1, project_name="Old"
        )
    ]
    selection = Selection(account="prod", zones=("us-*", "hk-01"), regions=("US-CA", "hk"), projects=("old", "Labb"))
    assert [one.word for one in unmatched(selection, LISTED)] == ["old", "Labb", "US-CA", "us-*"]
    assert [one.word for one in unmatched(selection, LISTED, known=known)] == ["Labb"]
    by_id = Selection(account="prod", projects=("ORG-OLD", "org-ol", "lab"))
    assert [one.word for one in unmatched(by_id, LISTED)] == ["ORG-OLD", "org-ol"]
    assert [one.word for one in unmatched(by_id, LISTED, known=known)] == ["org-ol"]
    elsewhere = Selection(account="prod", zones=("us-ca-01", "hk-01"), regions=("hk",))
    assert [one.word for one in unmatched(elsewhere, LISTED, known=known)] == ["us-ca-01"]


def test_many_words() -> None:
    """Of many words the nearest are looked for of the first few alone."""
    catalog = Catalog(projects=(), places=tuple(Place("hk", f"hk-{n:04}") for n in range(1000)), is_listed=False)
    found = unmatched(Selection(account="prod", zones=tuple(f"kh-{n:04}*" for n in range(1000))), catalog)
    assert len(found) == 1000
    assert 0 < sum("the nearest: " in one.sentence for one in found) < 10


def test_words_of_a_report() -> None:
    """Filters and pins of a report are about what is asked of all accounts; a pin without a zone is about all."""
    other = Catalog(projects=(Project("org-c"),), places=(Place("us-ca", "us-ca-01"),))
    filters = {"zone": ("hk-2", "us-*"), "project": ("org-c", "default"), "name": ("Ubuntu*",)}
    pins = (Pin("hk-2", "uimage-a"), Pin("hk-2", "uimage-b"), Pin("hk-01", "uimage-a"), Pin("", "uimage-c"))
    assert [one.sentence for one in of_report("me", filters, pins, [LISTED, other])] == [
        'reports.filters.zone of me: "hk-2" matches no zone that is asked; the nearest: hk-02, hk-01',
        'reports.pins of me: "hk-2 uimage-b" matches no zone that is asked; the nearest: hk-02, hk-01',
    ]
    assert list(of_report("me", {}, (), [])) == []


def test_how_a_miss_is_told() -> None:
    """Up to six known words are all told where none is near; a word stands as the setting has it."""
    six = [(letter * 3,) for letter in "fedcba"]

    (one,) = misses("set", "zone", ["zz"], six)
    assert (one.setting, one.word) == ("set", "zz")
    assert one.sentence == 'set: "zz" matches no zone of the account; known: aaa, bbb, ccc, ddd, eee, fff'
    (one,) = misses("set", "zone", ["zz"], [*six, ("ggg",)])
    assert one.sentence == 'set: "zz" matches no zone of the account'
    (one,) = misses("set", "zone", ["区"], six, "here", shown={"区": "区 x"}, with_hint=False)
    assert one.sentence == 'set: "区 x" matches no zone here'
    assert list(misses("set", "zone", ["AAA", "a*", "!bbb"], six)) == []
    assert list(misses("set", "zone", ["x"], [])) == []


def test_how_many_hints() -> None:
    """The nearest are looked for of six words of a setting, and among 5000 known ones at most."""
    hinted = [one.sentence.endswith("; the nearest: abc") for one in misses("s", "zone", ["abcd"] * 8, [("abc",)])]
    assert hinted == [True] * 6 + [False] * 2
    for many, told in ((4_999, True), (5_000, False)):
        known = [("abcx",), *((f"{number}",) for number in range(many))]
        (one,) = misses("s", "zone", ["abcd"], known)
        assert ("the nearest: abcx" in one.sentence) is told


def test_projects_of_a_report() -> None:
    """Projects of a report are judged where all accounts list theirs, by their ids and names."""
    filters = {"project": ("org-x", "lab", "ORG-A", "!default"), "region": ("mars",)}
    sentences = [one.sentence for one in of_report("me", filters, (), [LISTED])]
    assert sentences == [
        'reports.filters.region of me: "mars" matches no region that is asked; known: cn-bj2, hk, sg',
        'reports.filters.project of me: "org-x" matches no project that is asked; the nearest: org-b, org-a',
    ]
    unlisted = Catalog(projects=(), places=PLACES, is_listed=False)
    assert [one.word for one in of_report("me", filters, (), [LISTED, unlisted])] == ["mars"]


def test_the_default_project_of_a_report() -> None:
    """Of projects alone `default` is one that no list has: it stands for none being named."""
    unnamed = Catalog(projects=(Project("org-c"),), places=PLACES)
    filters = {"project": ("default", "zz"), "zone": ("default",)}
    assert [one.sentence for one in of_report("me", filters, (), [unnamed])] == [
        'reports.filters.zone of me: "default" matches no zone that is asked; known: cn-bj2-02, hk-01, hk-02, sg-01',
        'reports.filters.project of me: "zz" matches no project that is asked; known: org-c',
    ]
