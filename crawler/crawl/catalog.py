"""
What there is to ask in each account: discovery's answer, or what stands in for it.

A discovery that fails, or comes back empty, falls back to the last good catalog, and that to the configured places;
every fallback says so, and none of them counts anything as missing. A list that is incomplete does not either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass, field, replace

from crawler.client.api import ApiClient
from crawler.client.api_options import Timing
from crawler.client.discovery import Discovery, discover
from crawler.config.models import AccountSettings
from crawler.crawl.offers import SHARE_OF_TIME, FoundOffers, SoldBy, ask_offers
from crawler.domain.matrix import Offers
from crawler.domain.models import DEFAULT_PROJECT, Catalog, Place, Project
from crawler.domain.objections import tolerance
from crawler.domain.rows import Notice
from crawler.domain.targets import configured_catalog, configured_projects
from crawler.errors import contained

#: Projects times zones, of those selected, that a discovery may list; the largest known installation has thousands.
MAX_PAIRS = 50_000
#: The same where a catalog is known, unless it is ten times what that lists: planning so many takes all accounts' time.
MAX_NEW_PAIRS = 20_000
#: Why the lists of one of several accounts are not waited for any more.
_TOO_LATE = (
    "the lists of regions and projects did not come while the other accounts waited for them: "
    f"{SHARE_OF_TIME:.0%} of the time that was left"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is to ask in one account: discovery's answer, or what stands in for it."""

    catalog: Catalog | None
    #: False for a fallback: then nothing counts as missing.
    is_good: bool
    #: False where a list lacked something: the last catalog stands beside it, and nothing counts as missing.
    is_whole: bool = True
    notices: tuple[Notice, ...] = ()
    #: Why the account is not asked at all.
    refused: str | None = None
    #: What is offered where, for the matrix; empty where nobody could tell, or there is none.
    offers: Offers = field(default_factory=dict)
    sold_by: SoldBy = field(default_factory=dict)

    @property
    def whole_catalog(self) -> Catalog | None:
        """Return the catalog where what it lacks is not there; None where nobody knows."""
        return self.catalog if self.is_good and self.is_whole else None


class _Patience:
    """How long discoveries are waited for: once one account is done with it, the others have a part of the time."""

    def __init__(self, deadline: float) -> None:
        """*deadline* is the first one of an account: its time passes while the others are waited for."""
        self.deadline = deadline
        self._lasting: set[asyncio.Timeout] = set()
        self._until: float | None = None

    async def wait_for(self, discovering: Awaitable[Discovery], timing: Timing) -> Discovery:
        """Return what *discovering* gives; where it is not waited for so long, a discovery that failed."""
        scope = asyncio.timeout_at(self._until)
        try:
            async with scope:
                self._lasting.add(scope)
                return await discovering
        except TimeoutError:
            return Discovery(problems=(_TOO_LATE,))
        finally:
            self._lasting.discard(scope)
            if self._until is None:
                left = max(0.0, self.deadline - timing.monotonic())
                self._until = asyncio.get_running_loop().time() + left * SHARE_OF_TIME
                for other in self._lasting:
                    other.reschedule(self._until)


async def survey_all(
    accounts: Mapping[str, AccountSettings],
    clients: Mapping[str, ApiClient],
    last: Mapping[str, Catalog | None],
    deadlines: Mapping[str, float],
    stop: asyncio.Event | None,
    sold_by: Mapping[str, SoldBy],
) -> dict[str, Survey]:
    """
    Discover every account side by side, and give what there is to ask in each.

    Nobody is asked before all are discovered, so one that does not answer is waited for only so long. *last* are the
    last good catalogs, *sold_by* says which action told the last time what is sold.
    """
    patience = _Patience(min(deadlines.values()))
    surveys = await asyncio.gather(
        *(
            _survey(account, clients[name], last[name], deadlines[name], stop, sold_by[name], patience)
            for name, account in accounts.items()
        )
    )
    return dict(zip(accounts, surveys, strict=True))


async def _survey(
    account: AccountSettings,
    client: ApiClient,
    last: Catalog | None,
    deadline: float,
    stop: asyncio.Event | None,
    sold_by: SoldBy,
    patience: _Patience,
) -> Survey:
    """Discover one account; whatever that raises is a failed discovery of this account alone."""
    faults: list[str] = []
    discovery = Discovery()
    with contained(faults.append):
        discovering = discover(client, deadline=deadline, stop=stop, tolerated=account.tolerate)
        discovery = await patience.wait_for(discovering, client.timing)
    if faults:
        discovery = Discovery(problems=(f"the discovery failed: {faults[0]}",))
    survey = survey_of(account, discovery, last)
    if not account.is_auto or survey.catalog is None or survey.refused is not None:
        return survey
    offers = FoundOffers(offers={})
    with contained(faults.append):
        offers = await ask_offers(account, client, survey.catalog, patience.deadline, stop, sold_by)
    problems = (*offers.problems, *(f"what is offered is not known: {fault}" for fault in faults))
    notices = (_notice(account, problem, key=problem.partition(":")[0]) for problem in problems)
    return replace(survey, offers=offers.offers, sold_by=offers.sold_by, notices=(*survey.notices, *notices))


def survey_of(account: AccountSettings, discovery: Discovery, last: Catalog | None) -> Survey:
    """Take what discovery gave, or the last catalog, or the configured places; and say which."""
    notices = tuple(_notice(account, sentence) for sentence in tolerance(account.tolerate))
    # A list that does not come says why now in one way, now in another.
    problems = (*discovery.problems, *discovery.incomplete)
    notices += tuple(_notice(account, problem, key=problem.partition(":")[0]) for problem in problems)
    if discovery.credential is not None:
        return Survey(catalog=last, is_good=False, notices=notices, refused=discovery.credential.message)
    projects, is_good, said = _projects(account, discovery, last)
    notices += said
    listed = _listed(projects, discovery, last)
    pairs = _pairs(account, listed.projects, listed.places) if listed is not None else 0
    known = _pairs(account, last.projects, last.places) if last is not None else MAX_PAIRS
    if pairs > min(MAX_PAIRS, max(MAX_NEW_PAIRS, 10 * known)):
        sentence = f"{pairs:,} pairs of a project and a zone are listed, which is not believed"
        notices += (_notice(account, f"{sentence}; select fewer `projects`, `regions` or `zones` where it is true"),)
    elif listed is not None:
        return Survey(catalog=listed, is_good=is_good, is_whole=not discovery.incomplete, notices=notices)
    if last is not None:
        notices += (_notice(account, "asking what the last good catalog lists"),)
        return Survey(catalog=last, is_good=False, notices=notices)
    if account.places:
        places = [(place.region, place.zone, place.project) for place in account.places]
        catalog = configured_catalog(places, projects or configured_projects(account.projects, last)[0])
        notices += (_notice(account, "asking the configured places"),)
        return Survey(catalog=catalog, is_good=False, notices=notices)
    notices += (_notice(account, "no catalog, so there is nothing to ask"),)
    return Survey(catalog=None, is_good=False, notices=notices)


def _listed(projects: tuple[Project, ...] | None, discovery: Discovery, last: Catalog | None) -> Catalog | None:
    """Return the catalog of *projects* and the places discovered, the last one's beside it where a list lacks some."""
    if projects is None or discovery.places is None:
        return None
    is_listed = discovery.projects is not None or (last is not None and last.is_listed)
    if last is None or not discovery.incomplete:
        return Catalog(projects=projects, places=discovery.places, is_listed=is_listed)
    by_id = {project.project_id: project for project in (*last.projects, *projects)}
    by_zone = {(place.region, place.zone): place for place in (*last.places, *discovery.places)}
    return Catalog(
        projects=tuple(by_id[project_id] for project_id in sorted(by_id)),
        places=tuple(by_zone[names] for names in sorted(by_zone)),
        is_listed=is_listed,
    )


def _pairs(account: AccountSettings, projects: Collection[Project], places: Collection[Place]) -> int:
    """Count the projects times the places of which the account's selection wants both."""
    selection = account.selection()
    return sum(map(selection.wants_project, projects)) * sum(map(selection.wants_place, places))


def _notice(account: AccountSettings, sentence: str, *, key: str = "") -> Notice:
    return Notice(account=account.name, sentence=f"{account.name}: {sentence}", key=key)


def _projects(
    account: AccountSettings, discovery: Discovery, last: Catalog | None
) -> tuple[tuple[Project, ...] | None, bool, tuple[Notice, ...]]:
    """Return the projects to ask, whether that is a good discovery of them, and what there is to say about it."""
    if discovery.projects is not None:
        known = {project.project_id: project.name for project in last.projects} if last else {}
        # A name that is not stated is unknown: the last known one goes on.
        named = (replace(one, name=one.name or known.get(one.project_id, "")) for one in discovery.projects)
        return tuple(named), True, ()
    configured, unknown = configured_projects(account.projects, last)
    notices: tuple[Notice, ...] = ()
    if unknown:
        names = ", ".join(map(repr, unknown))
        sentence = (
            f"{names} under `projects`: without the list of projects nobody knows the ids of names, so these are not "
            "asked; give the ids (org-…)"
        )
        notices = (_notice(account, sentence),)
    if not discovery.projects_refused:
        return (configured, False, notices) if account.project_ids and configured and not last else (None, False, ())
    listed = last.projects if last is not None and last.is_listed else ()
    if listed:
        explicit = set(account.project_ids) - {DEFAULT_PROJECT}
        more = (project for project in configured if project.project_id in explicit)
        reason = f"the list of projects was open to this key before and is refused now ({discovery.refusal})"
        notices += (_notice(account, f"{reason}; asking those it listed then", key="GetProjectList"),)
        return tuple(sorted({*listed, *more})), False, notices
    if account.project_ids:
        # Where a name is not known its project may well be there: nothing is missing.
        return configured or None, not unknown, notices
    sentence = (
        "the list of projects is not open to this key; asking without a ProjectId "
        "(name the project ids under `projects` where the default one is not meant)"
    )
    return configured, True, (_notice(account, sentence),)
