"""What stands in for a discovery that failed, and what it says of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crawler.client.discovery import Discovery
from crawler.client.responses import Refusal
from crawler.config.models import PlaceSettings
from crawler.crawl.catalog import Survey, survey_of
from crawler.domain.models import Catalog, Place, Project
from crawler.domain.targets import Selection, expand
from tests.support.crawling import account_at

HK, SG = Place("hk", "hk-02", 3002), Place("sg", "sg-01", 10005)
LISTED = Catalog(projects=(Project("org-a", "Default"), Project("org-b", "Lab")), places=(HK, SG))
#: As saved by an account whose list was refused from the beginning: ids without names.
CONFIGURED = Catalog(projects=(Project("org-a"),), places=(HK,), is_listed=False)


def said(result: Survey) -> list[str]:
    return [notice.sentence for notice in result.notices]


def survey(discovery: Discovery, last: Catalog | None = None, **account: Any) -> Survey:
    return survey_of(account_at("http://127.0.0.1:9/", **account), discovery, last)


def test_good_discovery_is_the_catalog() -> None:
    """Both lists came: they are the catalog, and nothing is said."""
    result = survey(Discovery(projects=LISTED.projects, places=LISTED.places), CONFIGURED)
    assert result == Survey(catalog=LISTED, is_good=True)


def test_a_name_that_is_not_stated_is_the_last_known() -> None:
    """A project that is listed without its name keeps the last one: it is not renamed, and selected as before."""
    projects = (Project("org-a"), Project("org-b", "Labor"), Project("org-c"))
    result = survey(Discovery(projects=projects, places=LISTED.places), LISTED, projects=("Def*",))
    assert result.catalog is not None
    assert [project.name for project in result.catalog.projects] == ["Default", "Labor", ""]


@pytest.mark.parametrize(
    "discovery",
    [
        Discovery(problems=("GetRegion: the list Regions is empty",)),
        Discovery(projects=LISTED.projects, problems=("GetRegion: the list Regions is empty",)),
        Discovery(places=LISTED.places, problems=("GetProjectList: the list ProjectSet is empty",)),
    ],
)
def test_an_empty_list_falls_back_to_the_last_catalog_and_says_so(discovery: Discovery) -> None:
    """An empty GetRegion or GetProjectList is no good discovery: the last catalog is asked, and it is told."""
    result = survey(discovery, LISTED)
    assert (result.catalog, result.is_good) == (LISTED, False)
    assert "prod: asking what the last good catalog lists" in said(result)
    assert any("is empty" in notice for notice in said(result))


def test_an_incomplete_list_adds_and_takes_nothing_away() -> None:
    """What it lists is added and renamed, what the last catalog listed stays beside it; it is no whole catalog."""
    discovery = Discovery(
        projects=(Project("org-a", "Main"), Project("org-c")),
        places=(Place("hk", "hk-02"), Place("us", "us-01", 7)),
        incomplete=("GetRegion: 1 of 3 rows cannot be read",),
    )
    result = survey(discovery, LISTED)
    assert result.catalog == Catalog(
        projects=(Project("org-a", "Main"), Project("org-b", "Lab"), Project("org-c")),
        places=(Place("hk", "hk-02"), SG, Place("us", "us-01", 7)),
    )
    assert (result.is_good, result.is_whole) == (True, False)
    assert said(result) == ["prod: GetRegion: 1 of 3 rows cannot be read"]
    first = survey(discovery)
    assert first.catalog == Catalog(projects=discovery.projects or (), places=discovery.places or ())


def test_refused_credentials_stop_the_account_and_keep_its_targets() -> None:
    """The targets of the last catalog are still the run's, to be skipped with the reason."""
    refusal = Refusal(failure_class="credential", message="wrong signature (RetCode 171)", ret_code=171)
    result = survey(Discovery(credential=refusal), LISTED)
    assert (result.catalog, result.refused) == (LISTED, "wrong signature (RetCode 171)")


def test_a_sub_account_asks_its_configured_projects() -> None:
    """A refused list is normal for a sub-account: its configured ids make a good discovery, without a word."""
    refused = Discovery(places=(HK,), projects_refused=True, refusal="no permission (RetCode 299)")
    assert survey(refused, projects=("org-a",)) == Survey(catalog=CONFIGURED, is_good=True)
    assert survey(refused, CONFIGURED, projects=("org-a",)) == Survey(catalog=CONFIGURED, is_good=True)


def test_a_sub_account_without_configured_projects_sends_no_project() -> None:
    """With neither a list nor ids, no ProjectId is sent, and it is told how to name one."""
    result = survey(Discovery(places=(HK,), projects_refused=True, refusal="no permission"))
    assert result.catalog == Catalog(projects=(Project("default"),), places=(HK,), is_listed=False)
    assert any("`projects`" in notice for notice in said(result))


def test_a_list_that_was_open_before_and_is_refused_now_retires_nothing() -> None:
    """Losing the right to list projects is no discovery: those listed before are asked on, and it is told."""
    nameless = Catalog(projects=(Project("org-a"), Project("org-b")), places=(HK, SG))
    for last in (LISTED, nameless):
        result = survey(Discovery(places=(HK, SG), projects_refused=True, refusal="no permission"), last)
        assert (result.catalog, result.is_good) == (last, False)
        assert any("open to this key before" in notice for notice in said(result))


def test_an_id_that_is_configured_no_longer_was_in_no_list() -> None:
    """Where the list was never open and the configuration names no project any more, the default one is asked."""
    result = survey(Discovery(places=(HK,), projects_refused=True, refusal="no permission"), CONFIGURED)
    assert (result.catalog, result.is_good) == (replace(CONFIGURED, projects=(Project("default"),)), True)


def test_configured_places_are_the_last_resort() -> None:
    """Without discovery and without a past, the configured places are asked, exactly those."""
    places = (PlaceSettings(region="hk", zone="hk-02", project="org-x"), PlaceSettings(region="sg", zone="sg-01"))
    result = survey(Discovery(problems=("GetRegion: no answer",)), places=places, projects=("org-a",))
    assert result.catalog is not None
    assert [(project.project_id, place.zone) for project, place in result.catalog.assigned] == [
        ("org-a", "sg-01"),
        ("org-x", "hk-02"),
    ]
    assert not result.is_good


def test_nothing_at_all_is_said_to_be_nothing() -> None:
    """With no catalog of any kind there is nothing to ask, and it is told."""
    result = survey(Discovery(problems=("GetRegion: no answer",)))
    assert result.catalog is None
    assert "prod: no catalog, so there is nothing to ask" in said(result)


@pytest.mark.parametrize(
    ("projects", "last", "is_believed"),
    [
        (500, None, True),
        (501, None, False),
        (200, LISTED, True),
        (201, LISTED, False),
        (500, Catalog(projects=LISTED.projects, places=tuple(Place("hk", f"{n}") for n in range(2_500))), True),
        (501, Catalog(projects=LISTED.projects, places=tuple(Place("hk", f"{n}") for n in range(9_999))), False),
    ],
)
def test_more_pairs_than_can_be_are_not_believed(projects: int, last: Catalog | None, is_believed: bool) -> None:
    """A catalog is bounded, one that is known to be small more closely; what is not selected does not count."""
    listed = tuple(Project(f"org-{number}") for number in range(projects))
    found = Discovery(projects=listed, places=tuple(Place("hk", f"hk-{number:03}") for number in range(100)))
    result = survey(found, last)
    assert result.is_good == is_believed
    if not is_believed:
        sentence = f"prod: {projects}00 pairs of a project and a zone are listed, which is not believed"
        assert said(result)[0].replace(",", "", 1).startswith(sentence)
        assert result.catalog == last
    assert survey(found, last, zones=("hk-00?",)).is_good


REFUSED = Discovery(places=(HK,), projects_refused=True, refusal="no permission (RetCode 299)")


def test_names_are_not_sent_as_ids() -> None:
    """Where the list is refused a configured name that nobody knows is not asked, and it is told; the ids are."""
    result = survey(REFUSED, projects=("org-a", "Lab"))
    assert result.catalog == CONFIGURED
    assert not result.is_good  # the project of that name may well be there
    assert any("'Lab' under `projects`" in notice for notice in said(result))


def test_names_alone_are_nothing_to_ask() -> None:
    """With nothing but unknown names there is nothing to ask, not even without a ProjectId."""
    result = survey(REFUSED, projects=("Lab",))
    assert result.catalog is None
    assert "prod: no catalog, so there is nothing to ask" in said(result)


def test_names_that_the_last_catalog_knows() -> None:
    """A name is asked by the id that the last good catalog gave it."""
    result = survey(REFUSED, LISTED, projects=("Lab",))
    assert result.catalog is not None
    chosen = [target.project for target, _ in expand(result.catalog, Selection(account="prod", projects=("Lab",)))]
    assert set(chosen) == {"org-b"}
    assert not any("under `projects`" in notice for notice in said(result))


def test_reasons_that_vary_are_one_notice() -> None:
    """A list that does not come, now for this reason and now for that, is one lasting condition."""
    keys = {survey(Discovery(problems=(f"GetRegion: {why}",))).notices[0].key for why in ("timed out", "refused")}
    assert keys == {"GetRegion"}
