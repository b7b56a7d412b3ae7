"""Catalog, selection and knowledge in; targets out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crawler.domain.matrix import Machine, MatrixChoice, Offer, OfferedMatrix
from crawler.domain.models import Catalog, Place, Project, Target
from crawler.domain.targets import (
    KnownTarget,
    Reconciliation,
    Selection,
    configured_catalog,
    configured_projects,
    expand,
    reconcile,
    request_parameters,
    spots,
    zones_of_numbers,
)

ALL = Selection(account="prod")


def catalog(zones: list[str], projects: tuple[str, ...] = ("org-a",)) -> Catalog:
    return Catalog(
        projects=tuple(Project(project, f"name of {project}") for project in projects),
        places=tuple(Place(zone.rsplit("-", 1)[0], zone) for zone in zones),
    )


def target(zone: str, project: str = "org-a") -> Target:
    return Target("prod", project, zone.rsplit("-", 1)[0], zone, "uk8s-image")


def known(zone: str, **more: object) -> KnownTarget:
    entry = KnownTarget(target=target(zone), target_id=1, project_name="name of org-a")
    return replace(entry, **more)  # type: ignore[arg-type] # keyword fields of KnownTarget


def reconciled(listed: list[str], *entries: KnownTarget, **more: object) -> Reconciliation:
    options: dict[str, object] = {"previous": catalog(["hk-01", "hk-02"]), "is_good": True} | more
    return reconcile(catalog(listed), options.pop("selection", ALL), entries, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selection", "zones"),
    [
        (ALL, {"cn-bj2-02", "hk-01", "hk-02"}),
        (replace(ALL, zones=("hk-*",)), {"hk-01", "hk-02"}),
        (replace(ALL, regions=("cn-*",)), {"cn-bj2-02"}),
        (replace(ALL, projects=("name of org-?",)), {"cn-bj2-02", "hk-01", "hk-02"}),  # a glob over the name
        (replace(ALL, projects=("org-b",)), set()),
        (replace(ALL, projects=("ORG-A",), regions=("HK",), zones=("hK-*",)), {"hk-01", "hk-02"}),
    ],
)
def test_expand_applies_the_globs(selection: Selection, zones: set[str]) -> None:
    """Projects match by id or name, regions and zones by id, all of them in any case."""
    targets = [target for target, _ in expand(catalog(["hk-01", "hk-02", "cn-bj2-02"]), selection)]
    assert len(targets) == len(zones)
    assert {t.zone for t in targets} == zones


def test_expand_multiplies_kinds_and_variants() -> None:
    """Every variant is a target of its own."""
    targets = expand(catalog(["hk-02"]), replace(ALL, variants=("default", "g-v100")))
    assert [t.variant for t, _ in targets] == ["default", "g-v100"]


def test_first_discovery_adds_without_a_change() -> None:
    """An account without an earlier catalog gets its targets silently."""
    result = reconciled(["hk-01"], previous=None)
    assert result.new == {target("hk-01"): "name of org-a"}
    assert result.added == ()


def test_new_target_of_a_known_account_is_added() -> None:
    """A target that is new to an account with an earlier catalog is told."""
    assert reconciled(["hk-01", "hk-02"], known("hk-01")).added == (target("hk-02"),)


def test_missing_target_is_asked_and_retired_at_the_third_good_discovery() -> None:
    """A target missing from discovery is asked until the third good discovery without it."""
    for count, is_retired in [(0, False), (1, False), (2, True)]:
        entry = known("hk-02", missing_count=count, missing_needed=3 if count else 0)
        result = reconciled(["hk-01", "hk-03"], entry, previous=catalog(["hk-01", "hk-02", "hk-03"]))
        assert (target("hk-02") in result.retired) == is_retired
        assert (target("hk-02") in result.asked) == (not is_retired)
        if not is_retired:
            assert result.missing == {target("hk-02"): (count + 1, 3)}


def test_shrunken_discovery_needs_nine() -> None:
    """A list that shrank by half or more needs nine discoveries, and keeps needing them once it is the last catalog."""
    shrunken = reconciled(["hk-01"], known("hk-02"), previous=catalog(["hk-01", "hk-02"]))
    assert shrunken.missing == {target("hk-02"): (1, 9)}
    assert shrunken.notices
    later = reconciled(["hk-01"], known("hk-02", missing_count=7, missing_needed=9), previous=catalog(["hk-01"]))
    assert later.missing == {target("hk-02"): (8, 9)}
    last = reconciled(["hk-01"], known("hk-02", missing_count=8, missing_needed=9), previous=catalog(["hk-01"]))
    assert last.retired == (target("hk-02"),)


def test_list_that_shrinks_while_a_target_is_missing() -> None:
    """A target that was missing already needs nine discoveries too, once one of them lists half of the last."""
    entry = known("hk-02", missing_count=2, missing_needed=3)
    shrunken = reconciled(["hk-01"], entry, previous=catalog(["hk-01", "hk-03", "hk-04"]))
    assert (shrunken.retired, shrunken.missing) == ((), {target("hk-02"): (3, 9)})


def test_fallback_catalog_counts_nothing() -> None:
    """A discovery that failed neither counts nor retires, and everything is asked on."""
    entry = known("hk-02", missing_count=2, missing_needed=3)
    result = reconciled(["hk-01"], entry, is_good=False)
    assert result.retired == ()
    assert target("hk-02") in result.asked


def test_incomplete_catalog_confirms_and_does_not_count() -> None:
    """What an incomplete list has is there again; what it lacks is asked on, as often as it may lack it."""
    entries = (known("hk-01", missing_count=2, missing_needed=3), known("hk-02", missing_count=2, missing_needed=3))
    result = reconciled(["hk-01"], *entries, is_whole=False)
    assert (result.retired, result.missing) == ((), {})
    assert result.found == (target("hk-01"),)
    assert result.asked == (target("hk-01"), target("hk-02"))


def test_restricted_run_retires_deselects_and_counts_nothing() -> None:
    """A run narrowed on the command line asks its part and draws no conclusion about the rest."""
    entries = (known("hk-01"), known("hk-02", missing_count=2, missing_needed=3), known("cn-x-01"))
    only = replace(ALL, zones=("hk-01",))
    result = reconciled(["hk-01"], *entries, restricted_to=only, selection=replace(ALL, regions=("hk",)))
    assert result.asked == (target("hk-01"),)
    assert (result.retired, result.deselected, result.found) == ((), (), ())
    apart = replace(ALL, zones=("sg-01",))
    result = reconciled(["hk-01", "hk-02"], known("hk-02", absence="deselected"), known("hk-03"), restricted_to=apart)
    assert (result.asked, result.new, result.revived, result.unlisted) == ((), {}, (), frozenset())


def test_restricted_to_the_name_of_a_project() -> None:
    """A run narrowed to a project's name asks what is new there, what is known and what the catalog lacks."""
    for name, asked in (("name of org-a", ("hk-01", "hk-02", "hk-03")), ("other", ())):
        only = replace(ALL, projects=(name,))
        result = reconciled(["hk-01", "hk-02"], known("hk-02"), known("hk-03"), restricted_to=only)
        assert result.asked == tuple(map(target, asked))
        assert result.new == ({target("hk-01"): "name of org-a"} if asked else {})
        assert result.unlisted == ({target("hk-03")} if asked else set())


def test_count_means_in_a_row() -> None:
    """A restricted run that lists a missing target, asked or not, starts its count anew; a fallback does not."""
    entry = known("hk-02", missing_count=2, missing_needed=3)
    only = replace(ALL, zones=("hk-01",))
    assert reconciled(["hk-01", "hk-02"], entry, restricted_to=only).found == (target("hk-02"),)
    assert reconciled(["hk-01", "hk-02"], entry, is_good=False).found == ()


@pytest.mark.parametrize(
    ("listed", "options", "unlisted"),
    [
        (["hk-01"], {}, True),
        (["hk-01"], {"restricted_to": ALL}, True),
        (["hk-01"], {"is_good": False}, False),  # the last good one, `previous`, lists it
        (["hk-01", "hk-02"], {"is_good": False, "previous": catalog(["hk-01"])}, True),
        (["hk-01", "hk-02"], {}, False),
    ],
)
def test_unlisted_is_what_the_last_good_discovery_lacks(
    listed: list[str], options: dict[str, object], unlisted: bool
) -> None:
    """Whether a refusal is to be expected depends on the last good discovery, in restricted runs too."""
    result = reconciled(listed, known("hk-01"), known("hk-02"), **options)
    assert result.unlisted == ({target("hk-02")} if unlisted else set())


def test_deselected_target_is_noted_once() -> None:
    """A target the configuration no longer selects is deselected, once."""
    selection = replace(ALL, zones=("hk-01",))
    assert reconciled(["hk-01", "hk-02"], known("hk-02"), selection=selection).deselected == (target("hk-02"),)
    again = reconciled(["hk-01", "hk-02"], known("hk-02", absence="deselected"), selection=selection)
    assert again.deselected == ()


def test_project_that_is_not_selected_by_its_new_name() -> None:
    """A project whose new name the configuration does not select is deselected, not missing; by its id it is asked."""
    entry = known("hk-01", project_name="prod", missing_count=2, missing_needed=3)
    by_name = reconciled(["hk-01"], entry, selection=replace(ALL, projects=("prod*",)))
    assert (by_name.deselected, by_name.retired, by_name.missing) == ((target("hk-01"),), (), {})
    assert by_name.renamed == {"org-a": "name of org-a"}
    by_id = reconciled(["hk-02", "hk-03"], entry, selection=replace(ALL, projects=("org-a",)))
    assert by_id.retired == (target("hk-01"),)


def test_project_that_is_selected_by_its_new_name() -> None:
    """A target that the catalog lacks, of a project that is selected by its new name, is missing."""
    entry = known("hk-03", project_name="old")
    result = reconciled(["hk-01", "hk-02"], entry, selection=replace(ALL, projects=("name of org-a",)))
    assert (set(result.missing), result.deselected) == ({target("hk-03")}, ())
    assert result.renamed == {"org-a": "name of org-a"}


def test_project_whose_name_nobody_states() -> None:
    """A project that the catalog lacks, or lists without a name, keeps the name that is known of it."""
    other = KnownTarget(target=target("hk-01", "org-b"), target_id=2, project_name="Lab")
    assert reconciled(["hk-01"], known("hk-01"), other).renamed == {}
    nameless = replace(catalog(["hk-01"]), projects=(Project("org-a"), Project("org-b")))
    result = reconcile(nameless, ALL, [known("hk-01"), other], previous=nameless, is_good=True)
    assert (result.renamed, result.asked) == ({}, (target("hk-01"), target("hk-01", "org-b")))


def test_retired_target_that_comes_back_is_added_and_revived() -> None:
    """A retired target that discovery lists again is asked, revived and told; a deselected one is only revived."""
    back = reconciled(["hk-01", "hk-02"], known("hk-02", absence="retired"))
    assert (back.revived, target("hk-02") in back.added) == ((target("hk-02"),), True)
    silent = reconciled(["hk-02"], known("hk-02", absence="deselected"))
    assert (silent.revived, silent.added) == ((target("hk-02"),), ())


def test_targets_that_are_not_to_count_as_added() -> None:
    """What is taken out of the added ones has no fields either, and nothing else changes."""
    one, two, gone = map(target, ("hk-01", "hk-02", "hk-03"))
    result = Reconciliation(
        asked=(one, two), new={one: "", two: ""}, added=(one, two), retired=(gone,),
        fields={one: {"zones": [None, ["hk-01"]]}, gone: {"zones": [["hk-03"], None]}},
    )  # fmt: skip
    assert result.without_added([one]) == replace(result, added=(two,), fields={gone: {"zones": [["hk-03"], None]}})
    assert result.without_added([]) == result


def test_found_again_resets_the_count() -> None:
    """A listed target that had been missing is noted, so that its count starts anew."""
    assert reconciled(["hk-02"], known("hk-02", missing_count=2, missing_needed=3)).found == (target("hk-02"),)


def test_configured_places_are_asked_exactly() -> None:
    """Configured places are asked with their own project, or with every configured one."""
    projects, unknown = configured_projects(["org-*", "org-x", "Lab"])
    assert (projects, unknown) == ((Project("org-x"),), ("Lab",))
    assert configured_projects(["*"]) == ((Project("default"),), ())
    made = configured_catalog([("hk", "hk-02", "org-y"), ("sg", "sg-01", None)], projects)
    assert {(t.project, t.zone) for t, _ in expand(made, ALL)} == {("org-y", "hk-02"), ("org-x", "sg-01")}
    for narrowed in (replace(ALL, regions=("hk",)), replace(ALL, projects=("org-y",))):
        assert [(t.project, t.zone) for t, _ in expand(made, narrowed)] == [("org-y", "hk-02")]
    assert list(expand(made, replace(ALL, projects=("org-z", "default")))) == []


def test_configured_place_that_is_taken_out() -> None:
    """A place that the configuration named and names no longer is deselected; what it never named is asked on."""
    made = configured_catalog([("hk", "hk-02", "org-a")], ())
    before = [("org-a", "hk", "hk-01"), ("org-a", "hk", "hk-02"), ("org-a", "sg", "sg-01")]
    whole = [KnownTarget(target=target("hk-01")._replace(region=name, zone=""), target_id=1) for name in ("hk", "sg")]
    entries = [*map(known, ("hk-01", "hk-02", "sg-01", "sg-02")), *whole]

    def result(listed: Catalog, only: Selection | None = None) -> Reconciliation:
        return reconcile(listed, ALL, entries, previous=None, is_good=False, restricted_to=only, assigned_before=before)

    gone = result(made)
    assert [entry.zone or entry.region for entry in gone.deselected] == ["hk-01", "sg-01", "sg"]
    assert [entry.zone or entry.region for entry in gone.asked] == ["hk", "hk-02", "sg-02"]
    assert result(made, ALL).deselected == result(catalog(["hk-02"])).deselected == ()
    entries = [replace(entry, absence="deselected") for entry in entries]
    before = []
    again = result(made)
    assert ([entry.zone for entry in again.asked], again.deselected) == (["hk-02"], ())


LAST = Catalog(
    projects=(Project("org-a", "Lab"), Project("org-b", "org-a"), Project("org-c", "default"), Project("org-d", "Lab")),
    places=(),
)


@pytest.mark.parametrize(
    ("word", "ids"),
    [
        ("org-a", ["org-a"]),  # an id before a name that looks like it
        ("Lab", ["org-a", "org-d"]),
        ("default", ["default"]),  # never the project that is called so
        ("org-new", ["org-new"]),
        ("lab", []),
        ("org-", []),
    ],
)
def test_projects_by_the_last_catalog(word: str, ids: list[str]) -> None:
    """A configured word is an id, or else the name of projects in the last catalog, or else an id nobody listed."""
    projects, unknown = configured_projects([word, "!org-z", "x*"], LAST)

    assert [project.project_id for project in projects] == ids
    assert unknown == (() if ids else (word,))
    assert {project.name for project in projects} <= {project.name for project in LAST.projects} | {""}


def test_configured_places_keep_the_names_of_their_projects() -> None:
    """A place's own project has its name from the list where that is known; all is sorted, whatever was configured."""
    places = [("sg", "sg-01", None), ("hk", "hk-02", "org-a"), ("hk", "hk-01", "org-b"), ("hk", "hk-01", None)]
    made = configured_catalog(places, (Project("org-a", "Lab"),))

    assert made.projects == (Project("org-a", "Lab"), Project("org-b", ""))
    assert [place.zone for place in made.places] == ["hk-01", "hk-02", "sg-01"]
    assert [(project.name, place.zone) for project, place in made.assigned] == [
        ("Lab", "hk-01"), ("Lab", "hk-02"), ("Lab", "sg-01"), ("", "hk-01"),
    ]  # fmt: skip


def test_numbers_of_zones() -> None:
    """A number that several zones share tells none of them, and a zone without one has none."""
    numbers = {"hk-01": 1, "hk-02": 2, "sg-01": 2, "sg-02": None, "th-01": 0, "vn-01": 2}
    places = tuple(Place(zone[:2], zone, number) for zone, number in numbers.items())

    assert zones_of_numbers(Catalog(projects=(), places=places)) == {1: "hk-01", 2: None, 0: "th-01"}


def test_a_retired_target_is_let_be() -> None:
    """One that was retired and is still not listed is neither asked nor counted again."""
    result = reconciled(["hk-01"], known("hk-02", absence="retired"))

    assert target("hk-02") not in result.asked
    assert (result.missing, result.retired, result.deselected) == ({}, (), ())


def test_a_target_is_covered_by_the_name_of_its_project() -> None:
    """A target that the catalog lacks is missing, and not deselected, where its project is selected by its name."""
    result = reconciled(["hk-01"], known("hk-02"), selection=replace(ALL, projects=("name of org-a",)))

    assert set(result.missing) == {target("hk-02")}
    assert result.deselected == ()


def asked_projects(*projects: str, listed: tuple[Project, ...]) -> list[str]:
    found = expand(Catalog(projects=listed, places=(Place("hk", "hk-02"),)), replace(ALL, projects=projects))
    return sorted(target.project for target, _ in found)


@pytest.mark.parametrize(
    ("projects", "asked"),
    [
        (("default",), ["default"]),
        (("default", "org-b"), ["default", "org-b"]),
        (("default", "org-a"), ["org-a"]),
        (("*", "default"), ["org-a", "org-b"]),
        (("*",), ["org-a", "org-b"]),
    ],
)
def test_default_is_asked_without_an_id_and_never_twice(projects: tuple[str, ...], asked: list[str]) -> None:
    """`default` is a target of its own, where the list is open, too, unless its project is asked by its id anyway."""
    listed = (Project("org-a", "Default", is_default=True), Project("org-b", "default"))
    assert asked_projects(*projects, listed=listed) == asked


def test_default_where_no_row_says_which_it_is() -> None:
    """Where the list does not say which project is the default one, both are asked."""
    assert asked_projects("*", "default", listed=(Project("org-a"),)) == ["default", "org-a"]


@pytest.mark.parametrize("name", ["", "Lab"])
def test_default_that_is_listed_by_this_word(name: str) -> None:
    """A project that the catalog itself calls `default` is that one, and asked once, whatever its name."""
    listed = (Project("default", name), Project("org-a"))
    assert asked_projects("default", listed=listed) == ["default"]
    assert asked_projects("*", "default", listed=listed) == ["default", "org-a"]
    assert asked_projects("org-a", listed=listed) == ["org-a"]


def test_regions_as_a_whole() -> None:
    """A kind that is asked per region has one target for each region with a wanted place, and no zone."""
    listed = Catalog(
        projects=(Project("org-a"),), places=(Place("cn-bj2", "cn-bj2-04"), Place("hk", "hk-01"), Place("hk", "hk-02"))
    )
    selection = Selection(account="prod", zones=("*", "!cn-*"), kinds=("uk8s-version", "uhost-image", "node-group"))

    asked = sorted((target.kind, target.region, target.zone) for target, _ in expand(listed, selection))

    assert asked == [
        ("node-group", "hk", ""), ("uhost-image", "hk", "hk-01"), ("uhost-image", "hk", "hk-02"),
        ("uk8s-version", "hk", ""),
    ]  # fmt: skip


def test_a_region_that_is_wanted_no_more() -> None:
    """A target of a region none of whose zones is wanted any more is deselected; one the catalog lacks is missing."""
    listed = Catalog(projects=(Project("org-a"),), places=(Place("cn-bj2", "cn-bj2-04"), Place("hk", "hk-01")))
    known_before = [
        KnownTarget(target=Target("prod", "org-a", region, "", "uk8s-version"), target_id=number)
        for number, region in enumerate(("cn-bj2", "hk", "sg"), start=1)
    ]
    selection = Selection(account="prod", zones=("*", "!cn-*"), kinds=("uk8s-version",))

    rec = reconcile(listed, selection, known_before, previous=listed, is_good=True)

    assert [target.region for target in rec.deselected] == ["cn-bj2"]
    assert [target.region for target in rec.missing] == ["sg"]
    assert [target.region for target in rec.asked] == ["hk", "sg"]
    narrowed = Selection(account="", zones=("hk-01",), kinds=("*",), variants=("*",))
    assert reconcile(listed, selection, known_before, previous=listed, is_good=True, restricted_to=narrowed).asked == ()


def test_a_whole_region_whose_places_are_gone() -> None:
    """A target of a region is covered where a wanted place lies there, or none of all does; kinds go by case."""
    region = Target("prod", "org-a", "hk", "", "uk8s-version")
    narrow = Selection(account="prod", zones=("hk-*",), kinds=("uk8s-version",))

    assert narrow.covers(region, "", ())
    assert narrow.covers(region, "", (Place("hk", "hk-01"), Place("sg", "sg-01")))
    assert not narrow.covers(region, "", (Place("hk", "other-01"),))
    named = replace(narrow, projects=("Shop",))
    assert named.covers(region, "shop", ())
    assert not named.covers(region, "", ())
    assert narrow.wants(region._replace(zone="hk-01"))
    assert not narrow.wants(region._replace(zone="hk-01", kind="UK8S-version"))


def test_the_default_project_by_its_word() -> None:
    """A project whose id is `default` is wanted by that word, beside others that are named, and not without it."""
    lab = Project("default", "Lab")

    assert replace(ALL, projects=("default", "org-b")).wants_project(lab)
    assert replace(ALL, projects=("lab",)).wants_project(lab)
    assert not replace(ALL, projects=("org-b",)).wants_project(lab)
    assert replace(ALL, projects=("default",)).wants_project(Project("default"))
    assert not replace(ALL, projects=("default",)).wants_project(Project("org-a", "default"))


@pytest.mark.parametrize("name", ["", "Lab"])
@pytest.mark.parametrize(
    ("projects", "is_wanted"),
    [
        (("org-a", "!org-*"), False),
        (("*", "!ORG-A"), False),
        (("*", "!org-b"), True),
        (("!org-b",), True),
        (("default", "!org-b"), True),
        (("default",), False),
        (("default", "org-b"), False),
    ],
)
def test_projects_that_are_left_out(projects: tuple[str, ...], is_wanted: bool, name: str) -> None:
    """What fits a glob behind `!` is left out, by its id too, and `default` is no glob: with and without a name."""
    assert replace(ALL, projects=projects).wants_project(Project("org-a", name)) is is_wanted


def test_variants_of_other_kinds() -> None:
    """A kind is not asked with a variant whose parameters it does not take."""
    listed = Catalog(projects=(Project("org-a"),), places=(Place("hk", "hk-02"),))
    selection = Selection(
        account="prod",
        kinds=("uk8s-image", "uhost-image"),
        variants=("default", "g"),
        unfit=frozenset({("uhost-image", "g")}),
    )

    assert sorted((target.kind, target.variant) for target, _ in expand(listed, selection)) == [
        ("uhost-image", "default"), ("uk8s-image", "default"), ("uk8s-image", "g"),
    ]  # fmt: skip


@pytest.mark.parametrize(("named", "is_dropped"), [("g-v100", False), ("g-*", True), ("*", True), ("!o", True)])
def test_variant_named_like_a_glob(named: str, is_dropped: bool) -> None:
    """A variant that is configured no more is deselected, whatever the names of the others would fit as globs."""
    before = target("hk-02")._replace(variant="g-v100")
    selection = replace(ALL, variants=("default", named))
    rec = reconciled(["hk-02"], known("hk-02"), KnownTarget(target=before, target_id=2), selection=selection)

    assert (rec.deselected, before in rec.asked) == ((before,) if is_dropped else (), not is_dropped)
    assert rec.missing == {}


def test_a_kind_that_is_configured_now() -> None:
    """Targets of a kind that nobody asked for before are new and have not opened; those of a new zone have."""
    places = (Place("hk", "hk-01"), Place("hk", "hk-02"))
    listed = Catalog(projects=(Project("org-a"),), places=places)
    known_before = [KnownTarget(target=Target("prod", "org-a", "hk", "hk-01", "uk8s-image"), target_id=1)]
    selection = Selection(account="prod", kinds=("uk8s-image", "uhost-image", "uk8s-version"))

    rec = reconcile(listed, selection, known_before, previous=listed, is_good=True)

    assert len(rec.new) == 4
    assert [(target.kind, target.zone) for target in rec.added] == [("uk8s-image", "hk-02")]


def test_what_a_selection_wants_by_default() -> None:
    """All projects and places, UK8S images, the variant `default`; a pair that does not fit is not asked."""
    assert ALL.wants(target("hk-01"))
    assert not ALL.wants(target("hk-01")._replace(kind="uhost-image"))
    assert not ALL.wants(target("hk-01")._replace(variant="blue"))
    assert not replace(ALL, unfit=frozenset({("uk8s-image", "default")})).wants(target("hk-01"))
    assert replace(ALL, unfit=frozenset({("uk8s-image", "blue")})).wants(target("hk-01"))
    assert ALL.standing(target("hk-01")) is None
    assert replace(ALL, projects=("ORG-A",)).wants(target("hk-01"))
    assert not replace(ALL, projects=("[!o]*",)).wants(target("hk-01"))
    assert replace(ALL, projects=("[!o]*",)).wants(target("hk-01"), "name of org-a")
    for narrowed in (
        replace(ALL, regions=("sg",)),
        replace(ALL, zones=("sg-*",)),
        replace(ALL, projects=("org-b",)),
    ):
        assert not narrowed.wants(target("hk-01"), "name of org-a")


def test_shrunken_lists_in_words() -> None:
    """A list that lost half or more is told with both figures, for projects and zones alike; a smaller loss is none."""
    before = catalog(["hk-01", "hk-02", "hk-03", "hk-04"], ("org-a", "org-b"))
    words = "the others are asked on and retire only after 9 such discoveries in a row"
    assert reconciled(["hk-01", "hk-02"], previous=before).notices == (
        f"prod: discovery lists 1 of 2 projects; {words}",
        f"prod: discovery lists 2 of 4 zones; {words}",
    )
    alone = replace(before, projects=before.projects[:1])
    assert reconciled(["hk-01", "hk-02", "hk-03"], previous=alone).notices == ()
    assert reconciled([], previous=catalog(["hk-01"])).notices == (f"prod: discovery lists 0 of 1 zone; {words}",)
    assert reconciled(["hk-01"], previous=before, is_good=False).notices == ()
    assert reconciled(["hk-01"], previous=None).notices == ()
    assert reconciled([], previous=catalog([])).notices == ()


def test_request_parameters() -> None:
    """A target is asked by region, zone and project and what its variant sends; what it has not is not sent."""
    full = target("hk-01")
    assert request_parameters(full, {"MachineType": "O"}) == {
        "Region": "hk", "Zone": "hk-01", "ProjectId": "org-a", "MachineType": "O",
    }  # fmt: skip
    assert request_parameters(full._replace(project="default", zone=""), {}) == {"Region": "hk"}


def test_order_of_a_configured_catalog() -> None:
    """Projects and places are sorted and each is there once; a project of a place has the name that is known of it."""
    lab, shop = Project("org-a", "Lab"), Project("org-b", "Shop")
    made = configured_catalog(
        [("sg", "sg-01", None), ("hk", "hk-02", "org-a"), ("hk", "hk-01", "org-c"), ("sg", "sg-01", "org-b")],
        (shop, lab),
    )
    assert made == Catalog(
        projects=(lab, shop, Project("org-c")),
        places=(Place("hk", "hk-01"), Place("hk", "hk-02"), Place("sg", "sg-01")),
        is_listed=False,
        assigned=(
            (lab, Place("hk", "hk-02")),
            (lab, Place("sg", "sg-01")),
            (shop, Place("sg", "sg-01")),
            (Project("org-c"), Place("hk", "hk-01")),
        ),
    )
    assert spots(made) == {
        ("org-a", "hk", "hk-02"), ("org-a", "sg", "sg-01"), ("org-b", "sg", "sg-01"), ("org-c", "hk", "hk-01"),
    }  # fmt: skip
    assert spots(catalog(["hk-01"])) == frozenset()


def test_what_a_known_target_is_by_default() -> None:
    """Nothing is missing of a target of which nothing is said, and its project has no name."""
    entry = KnownTarget(target=target("hk-01"), target_id=1)
    assert (entry.project_name, entry.missing_count, entry.missing_needed, entry.absence) == ("", 0, 0, None)
    result = reconcile(catalog(["hk-01"]), ALL, [entry], previous=None, is_good=True)
    assert result == Reconciliation(asked=(target("hk-01"),), renamed={"org-a": "name of org-a"})


OFFERED = Offer(frozenset({Machine("O"), Machine("OM")}), frozenset({"1.28.15", "1.30.14"}))
GONE = {
    "om-1.24": {"MachineType": "OM", "K8sVersion": "1.24.1"},
    "q-1.28": {"MachineType": "Q", "K8sVersion": "1.28.15"},
}


def of_matrix(*zones: str) -> Selection:
    """Return a selection with what is offered in these *zones* of hk."""
    return replace(ALL, matrix=OfferedMatrix.of(MatrixChoice(), {("hk", zone): OFFERED for zone in zones}, GONE))


def test_matrix_that_is_offered() -> None:
    """Variants that follow from what is offered are asked beside `default`, and opened no target that is told."""
    result = reconciled(["hk-01"], known("hk-01"), selection=of_matrix("hk-01"))
    assert [one.variant for one in result.asked] == ["default", "o-1.28", "om-1.28"]
    assert sorted(one.variant for one in result.new) == ["o-1.28", "om-1.28"]
    assert result.added == ()


def test_matrix_of_another_kind() -> None:
    """Where UK8S images are not asked, nothing of the matrix is."""
    selection = replace(of_matrix("hk-01"), kinds=("uhost-image",))
    assert [(one.kind, one.variant) for one, _ in expand(catalog(["hk-01"]), selection)] == [("uhost-image", "default")]


def test_what_a_selection_wants_of_a_matrix() -> None:
    """What the matrix wants, what has ended and what nobody can tell is wanted; what it does not want is not."""
    names = {"o-1.28": True, "q-1.28": True, "om-1.24": True, "o-1.30": False}
    known_before = GONE | {"o-1.30": {"MachineType": "O", "K8sVersion": "1.30.14"}}
    offered = OfferedMatrix.of(MatrixChoice(), {("hk", "hk-01"): OFFERED}, known_before)
    selection = replace(ALL, matrix=offered)
    assert {name: selection.wants(target("hk-01")._replace(variant=name)) for name in names} == names
    assert selection.wants(target("hk-02")._replace(variant="q-1.28"))
    assert not selection.wants(target("hk-01")._replace(variant="blue"))


def test_matrix_of_a_zone_that_is_gone() -> None:
    """In a zone that the catalog lacks a variant is missing like any other, whatever nobody can tell of its offers."""
    gone = [known("hk-02"), KnownTarget(target=target("hk-02")._replace(variant="o-1.28"), target_id=2)]
    result = reconciled(["hk-01", "hk-03"], *gone, selection=of_matrix("hk-01", "hk-03"))
    assert result.missing == {entry.target: (1, 3) for entry in gone}
    assert result.unlisted == {entry.target for entry in gone}


def test_matrix_that_was_given_up_in_a_zone_that_is_gone() -> None:
    """In a zone that the catalog lacks nobody can tell what is offered: a variant that was deselected stays so."""
    given_up = KnownTarget(target=target("hk-02")._replace(variant="o-1.28"), target_id=2, absence="deselected")
    result = reconciled(["hk-01", "hk-03"], known("hk-01"), given_up, selection=of_matrix("hk-01", "hk-03"))
    assert given_up.target not in result.asked
    assert (result.revived, result.missing, result.deselected) == ((), {}, ())
    # a question without parameters needs no offer
    plain = known("hk-02", absence="deselected")
    result = reconciled(["hk-01", "hk-03"], known("hk-01"), plain, selection=of_matrix("hk-01", "hk-03"))
    assert (result.revived, result.missing) == ((plain.target,), {plain.target: (1, 3)})


def test_matrix_that_ends() -> None:
    """What is offered no more is not asked, counts as missing, and retires as one change of all its zones."""
    ended = [target(zone)._replace(variant="q-1.28") for zone in ("hk-02", "hk-01")]
    entries = [known("hk-01"), known("hk-02")]
    stay = [
        KnownTarget(target=target(zone)._replace(variant=variant), target_id=2, project_name="name of org-a")
        for zone in ("hk-01", "hk-02") for variant in ("o-1.28", "om-1.28")
    ]  # fmt: skip
    selection = of_matrix("hk-01", "hk-02")
    for count in range(3):
        missing = [
            KnownTarget(target=one, target_id=3, project_name="name of org-a", missing_count=count) for one in ended
        ]
        result = reconciled(["hk-01", "hk-02"], *entries, *stay, *missing, selection=selection)
        assert not set(ended) & set(result.asked)
        assert result.missing == (dict.fromkeys(ended, (count + 1, 3)) if count < 2 else {})
    assert result.retired == tuple(ended)
    assert result.silent == {ended[0]}
    assert result.fields == {ended[1]: {"machine_type": ["Q", None], "zones": [["hk-01", "hk-02"], None]}}
    # without those that stay it is the half of the matrix that went
    alone = reconciled(["hk-01", "hk-02"], *entries, *missing, selection=selection)
    assert (alone.retired, alone.missing) == ((), dict.fromkeys(ended, (3, 9)))
    half = reconciled(["hk-01", "hk-02"], *entries, *stay[:2], *missing, selection=selection)
    assert (half.retired, half.missing) == ((), dict.fromkeys(ended, (3, 9)))
    most = reconciled(["hk-01", "hk-02"], *entries, *stay[:3], *missing, selection=selection)
    assert (most.retired, most.missing) == (tuple(ended), {})
    unsure = reconciled(["hk-01", "hk-02"], *entries, *missing, selection=selection, is_whole=False)
    assert (unsure.retired, unsure.missing) == ((), {})


def test_matrix_that_comes_back() -> None:
    """What had retired and is offered again is one change of all its zones."""
    back = [target(zone)._replace(variant="o-1.28") for zone in ("hk-01", "hk-02")]
    entries = [KnownTarget(target=one, target_id=2, project_name="name of org-a", absence="retired") for one in back]
    result = reconciled(["hk-01", "hk-02"], *entries, selection=of_matrix("hk-01", "hk-02"))
    assert result.revived == tuple(back)
    assert result.fields == {back[0]: {"k8s_version": [None, "1.28.15"], "zones": [None, ["hk-01", "hk-02"]]}}
    assert back[0] in result.added
    assert back[1] not in result.added


def test_matrix_that_nobody_could_tell() -> None:
    """Where nobody could tell what is offered, what was asked is asked on, as one that is not listed."""
    one = target("hk-01")._replace(variant="o-1.28")
    entry = KnownTarget(target=one, target_id=2, project_name="name of org-a")
    result = reconciled(["hk-01"], known("hk-01"), entry, selection=of_matrix("hk-02"))
    assert (result.retired, result.missing) == ((), {})
    assert result.unlisted == {one}


def test_matrix_that_had_ended_when_nobody_could_tell() -> None:
    """Where nobody could tell what is offered, what had ended before is asked no more, and does not count either."""
    one = target("hk-01")._replace(variant="o-1.28")
    entry = KnownTarget(target=one, target_id=2, project_name="name of org-a", missing_count=2, missing_needed=3)
    result = reconciled(["hk-01"], known("hk-01"), entry, selection=of_matrix("hk-02"))
    assert result.asked == (target("hk-01"),)
    assert (result.retired, result.missing, result.found, result.deselected) == ((), {}, (), ())
