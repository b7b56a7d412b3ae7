"""
What there is to ask in each account: discovery's answer, or what stands in for it.

A discovery that fails, or comes back empty, falls back to the last good catalog, and that to the configured places;
every fallback says so, and none of them counts anything as missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from crawler.errors import contained
from crawler.fetch import ApiClient, Discovery, discover
from crawler.model import Catalog, Project
from crawler.objections import tolerance
from crawler.settings import AccountSettings
from crawler.targets import configured_catalog, configured_projects

#: Projects times zones that a discovery may list; the largest known installation has some thousands.
MAX_PAIRS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is to ask in one account: discovery's answer, or what stands in for it."""

    catalog: Catalog | None
    #: False for a fallback: then nothing counts as missing.
    is_good: bool
    notices: tuple[str, ...] = ()
    #: Why the account is not asked at all.
    refused: str | None = None


async def survey_all(
    accounts: Mapping[str, AccountSettings],
    clients: Mapping[str, ApiClient],
    last: Mapping[str, Catalog | None],
    deadlines: Mapping[str, float],
    stop: asyncio.Event | None,
) -> dict[str, Survey]:
    """Discover every account side by side, and give what there is to ask in each; *last* are the last good catalogs."""
    surveys = await asyncio.gather(
        *(_survey(account, clients[name], last[name], deadlines[name], stop) for name, account in accounts.items())
    )
    return dict(zip(accounts, surveys, strict=True))


async def _survey(
    account: AccountSettings, client: ApiClient, last: Catalog | None, deadline: float, stop: asyncio.Event | None
) -> Survey:
    """Discover one account; whatever that raises is a failed discovery of this account alone."""
    faults: list[str] = []
    with contained(faults.append):
        found = await discover(client, deadline=deadline, stop=stop, tolerated=account.tolerate)
        return survey_of(account, found, last)
    return survey_of(account, Discovery(problems=(f"the discovery failed: {faults[0]}",)), last)


def survey_of(account: AccountSettings, discovery: Discovery, last: Catalog | None) -> Survey:
    """Take what discovery gave, or the last catalog, or the configured places; and say which."""
    problems = tuple(f"{account.name}: {problem}" for problem in (*tolerance(account.tolerate), *discovery.problems))
    if discovery.credential is not None:
        return Survey(catalog=last, is_good=False, notices=problems, refused=discovery.credential.message)
    projects, is_good, problem = _projects(account, discovery, last)
    problems += problem
    pairs = len(discovery.places or ()) * len(projects or ())
    if pairs > MAX_PAIRS:
        problems += (f"{account.name}: {pairs:,} pairs of a project and a zone are listed, which is not believed",)
    elif discovery.places is not None and projects is not None:
        return Survey(catalog=Catalog(projects=projects, places=discovery.places), is_good=is_good, notices=problems)
    if last is not None:
        return Survey(
            catalog=last, is_good=False, notices=(*problems, f"{account.name}: asking what the last good catalog lists")
        )
    if account.places:
        places = [(place.region, place.zone, place.project) for place in account.places]
        catalog = configured_catalog(places, projects or configured_projects(account.projects))
        return Survey(
            catalog=catalog, is_good=False, notices=(*problems, f"{account.name}: asking the configured places")
        )
    return Survey(
        catalog=None, is_good=False, notices=(*problems, f"{account.name}: no catalog, so there is nothing to ask")
    )


def _projects(
    account: AccountSettings, discovery: Discovery, last: Catalog | None
) -> tuple[tuple[Project, ...] | None, bool, tuple[str, ...]]:
    """Give the projects to ask, whether that is a good discovery of them, and what there is to say about it."""
    if discovery.projects is not None:
        return discovery.projects, True, ()
    configured = configured_projects(account.projects)
    if not discovery.projects_refused:
        return (configured, False, ()) if account.project_ids and last is None else (None, False, ())
    listed = tuple(project for project in last.projects if project.name) if last else ()
    if listed:
        known = {project.project_id for project in listed}
        explicit = tuple(p for p in configured if p.project_id in account.project_ids and p.project_id not in known)
        sentence = f"the list of projects was open to this key before and is refused now ({discovery.refusal})"
        return tuple(sorted((*listed, *explicit))), False, (f"{account.name}: {sentence}; asking those it listed then",)
    if account.project_ids:
        return configured, True, ()
    return (
        configured,
        True,
        (
            f"{account.name}: the list of projects is not open to this key; asking without a ProjectId "
            "(name the project ids under `projects` where the default one is not meant)",
        ),
    )
