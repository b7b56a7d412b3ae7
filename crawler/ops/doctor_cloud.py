"""What `doctor` finds out from the cloud: each account's key, clock, places, actions and rate."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from crawler.client.api import ApiClient, NetworkFailure
from crawler.client.api_options import Timing
from crawler.client.cancellation import Cancelled, CancelScope
from crawler.client.discovery import Discovery, discover
from crawler.client.fetcher import as_page
from crawler.client.responses import Refusal, read_answer
from crawler.client.retry import classify_ret_code
from crawler.config.models import AccountSettings, Settings
from crawler.crawl.run import ThrottleOf, connect
from crawler.crawl.shared_rates import shared_here, sharers
from crawler.domain.composing import Composition
from crawler.domain.kinds import KINDS, Kind
from crawler.domain.kinds.instance_type import INSTANCE_TYPE
from crawler.domain.kinds.uk8s_version import UK8S_VERSION
from crawler.domain.models import Catalog, Target
from crawler.domain.objections import tolerance
from crawler.domain.proxies import Proxy
from crawler.domain.targets import configured_catalog, configured_projects, reconcile
from crawler.domain.text import agreeing, counted
from crawler.domain.unmatched import unmatched
from crawler.ops.findings import Finding, fail, ok, warn

#: The Date header tells whole seconds, and an answer takes its time.
SKEW_WARN = timedelta(seconds=30)
SKEW_FAIL = timedelta(minutes=5)
#: So far off that the other side may well be the one that is wrong.
ODD_SKEW = timedelta(days=2)
#: The longest look at one account, for each of those that share its rate.
PATIENCE_SECONDS = 60.0
#: So many projects are tried of each kind, and so many zones of a project whose first zones are closed to the key.
PROJECTS_TRIED = 20
ZONES_TRIED = 3
#: Refusals of a place, not of the key or the project: another zone may answer.
ZONE_REFUSALS = frozenset({230, 293})

Clock = Callable[[], datetime]


async def of_accounts(settings: Settings, clock: Clock) -> tuple[list[Finding], list[Catalog | None]]:
    """Return the findings about all accounts, and of each what it lists as a whole, as far as that is asked."""
    discoveries: dict[str, Discovery] = {}
    throttle = shared_here()
    found = await asyncio.gather(
        *(
            _account(account, clock, discoveries, throttle, PATIENCE_SECONDS * sharers(settings, account))
            for account in settings.accounts
        )
    )
    catalogs = [_asked_of(account, _whole(discoveries.get(account.name, Discovery()))) for account in settings.accounts]
    return [finding for findings in found for finding in findings], catalogs


def _whole(discovery: Discovery) -> Catalog | None:
    """Return what was listed as a whole; None where the places were not."""
    if discovery.places is None or discovery.incomplete:
        return None
    is_listed = discovery.projects is not None
    return Catalog(projects=discovery.projects or (), places=discovery.places, is_listed=is_listed)


def _asked_of(account: AccountSettings, listed: Catalog | None) -> Catalog | None:
    if listed is None:
        return None
    selection = account.selection()
    projects = tuple(filter(selection.wants_project, listed.projects))
    return replace(listed, projects=projects, places=tuple(filter(selection.wants_place, listed.places)))


async def _account(
    account: AccountSettings, clock: Clock, discoveries: dict[str, Discovery], throttle: ThrottleOf, patience: float
) -> list[Finding]:
    """Return the findings about one account, within *patience*; what it tells of its places goes into *discoveries*."""
    timing = Timing(clock=clock)
    deadline = timing.monotonic() + patience
    try:
        async with connect(account, timing) as client:
            client.throttle = throttle(account, client.throttle)
            try:
                findings = [await _endpoint(client, account, timing, deadline)]
            except (NetworkFailure, Cancelled) as exc:
                return [
                    fail(
                        "endpoint",
                        f"{account.endpoint}: {exc}",
                        way_fix(account.proxy),
                        about=account.name,
                    )
                ]
            skew = findings.pop()
            discovery = await discover(client, deadline=deadline, tolerated=account.tolerate)
            discoveries[account.name] = discovery
            catalog = known_catalog(account, discovery)
            asked: tuple[Target, ...] = ()
            if catalog is not None and discovery.credential is None:
                asked = reconcile(catalog, account.selection(), (), previous=None, is_good=True).asked
            brake = CancelScope(monotonic=timing.monotonic, deadline=deadline)
            async with brake.watched():
                tried = [
                    finding
                    async for finding in _actions(
                        client, account, (*asked, *(_offered(account, catalog) if asked else ())), brake
                    )
                ]
    except (OSError, ValueError) as exc:
        return [fail("endpoint", str(exc), "check the configuration of the account", about=account.name)]
    protocol = "over TLS, its certificate is good" if account.endpoint.startswith("https:") else "without TLS"
    reached = ok("endpoint", f"{account.endpoint} answers {protocol}{via(account.proxy)}", about=account.name)
    return [reached, skew, *_discovered(account, discovery, catalog, asked), *tried]


async def _endpoint(client: ApiClient, account: AccountSettings, timing: Timing, deadline: float) -> Finding:
    """Ask once, and compare the clocks; raises NetworkFailure and Cancelled."""
    brake = CancelScope(monotonic=timing.monotonic, deadline=deadline)
    async with brake.watched():
        answer = await client.attempt(client.form("GetRegion"), brake)
    if answer.served_at is None:
        return ok("clock", "the answers carry no date to compare with", about=account.name)
    skew = answer.received_at - answer.served_at
    seconds = abs(round(skew.total_seconds()))
    lag = f"{seconds} s" if abs(skew) < ODD_SKEW else f"{abs(skew).days:,} days"
    message = f"this machine's clock is {lag} {'ahead of' if skew > timedelta() else 'behind'} the cloud's"
    fix = "let the machine follow a time server (timedatectl set-ntp true); observations are dated by its clock"
    if abs(skew) >= ODD_SKEW:
        message += f", which says it is {answer.served_at:%Y-%m-%d}"
        fix = f"see which of the two is right: a proxy may date the answers; if it is the cloud, {fix}"
    if abs(skew) > SKEW_FAIL:
        return fail("clock", message, fix, about=account.name)
    if abs(skew) > SKEW_WARN:
        return warn("clock", message, fix, about=account.name)
    return ok("clock", "this machine's clock agrees with the cloud's", about=account.name)


def known_catalog(account: AccountSettings, discovery: Discovery) -> Catalog | None:
    """Return what a run would ask now, without a history; None where it knows no place."""
    configured, _ = configured_projects(account.projects)
    if discovery.places is not None:
        return Catalog(projects=discovery.projects or configured, places=discovery.places)
    if not account.places:
        return None
    places = [(place.region, place.zone, place.project) for place in account.places]
    return configured_catalog(places, discovery.projects or configured)


def _offered(account: AccountSettings, catalog: Catalog | None) -> tuple[Target, ...]:
    """Return what is asked to find out what a matrix is made of; nothing where the account has none."""
    if not account.is_auto or catalog is None:
        return ()
    selection = replace(account.selection(), kinds=(UK8S_VERSION.name, INSTANCE_TYPE.name))
    return reconcile(catalog, selection, (), previous=None, is_good=True).asked


async def _actions(
    client: ApiClient, account: AccountSettings, asked: tuple[Target, ...], brake: CancelScope
) -> AsyncIterator[Finding]:
    """Call each action that lists images once per project, and in a few more zones where the first is refused."""
    groups: dict[tuple[str, str], dict[str, Target]] = {}
    for target in asked:
        groups.setdefault((target.kind, target.project), {}).setdefault(target.zone, target)
    refusals: dict[str, list[tuple[Target, Refusal]]] = {}
    tried: Counter[str] = Counter()
    for (name, _), zones in groups.items():
        kind, refusal = KINDS[name], None
        action = kind.action
        if tried[action] == PROJECTS_TRIED:
            continue
        for target in list(zones.values())[:ZONES_TRIED]:
            try:
                answer = await _ask(
                    client, Composition(target, kind, account.named_variants[target.variant]), kind, brake
                )
            except (NetworkFailure, Cancelled) as exc:
                yield warn("actions", f"{action} was not tried: {exc}", "try again later", about=account.name)
                return
            refusal = (target, client.heeded(answer)) if isinstance(answer, Refusal) else None
            if refusal is None or refusal[1].ret_code not in ZONE_REFUSALS:
                break
        tried[action] += 1
        if refusal is not None:
            refusals.setdefault(action, []).append(refusal)
    for action, count in tried.items():
        if action not in refusals:
            yield ok("actions", f"{action} is open to this key", about=account.name)
            continue
        target, said = refusals[action][0]
        where = f"in {target.place} of project {target.project}"
        others = len(refusals[action]) - 1
        more = f" and {counted(others, 'more project')}" if others else ""
        happened, fix = (
            ("failed", "try again later; where it lasts, show the provider the message")
            if said.ret_code is None or classify_ret_code(said.ret_code) == "transient"
            else ("is refused", "grant the action to this key there (docs/permissions.md), or deselect the project")
        )
        yield (fail if len(refusals[action]) == count else warn)(
            "actions",
            f"{action} {happened} {where}{more}: {said.message}",
            fix,
            about=account.name,
        )


async def _ask(
    client: ApiClient, composition: Composition, kind: Kind, brake: CancelScope
) -> Mapping[str, Any] | Refusal:
    """Ask the first question of an observation, and the other one where the cloud does not know its action."""
    while True:
        action, params = composition.question
        answered = await client.attempt(client.form(action, params), brake, secrets=kind.secrets)
        answer = read_answer(answered, action)
        if not isinstance(answer, Refusal) or composition.refused(as_page(answer)) is None:
            return answer


def _discovered(
    account: AccountSettings, discovery: Discovery, catalog: Catalog | None, asked: tuple[Target, ...]
) -> Iterator[Finding]:
    name = account.name
    if discovery.credential is not None:
        fix = {
            174: "check the public key, and whether this brand wants a channel-key header",
            171: "check the private key: the signature does not fit",
            294: "add this machine's address to the account's white-list",
        }.get(discovery.credential.ret_code or 0, "check both keys of the account, and that they are not disabled")
        yield fail("keys", discovery.credential.message, fix, about=name)
        return
    yield ok("keys", "a signed call was accepted", about=name)
    for sentence in tolerance(account.tolerate):
        yield warn("answers", sentence, "take out of `tolerate` what this brand answers rightly", about=name)
    for problem in discovery.problems:
        yield warn("catalog", problem, "runs fall back to the last catalog, or the configured places", about=name)
    for sentence in discovery.incomplete:
        yield warn("catalog", sentence, "show the provider the answer; nothing is retired while it is so", about=name)
    if discovery.projects_refused and not account.project_ids:
        yield warn(
            "catalog",
            f"the list of projects is not open to this key ({discovery.refusal})",
            "name the project ids under `projects`, where the default project is not meant",
            about=name,
        )
    _, unknown = configured_projects(account.projects)
    if discovery.projects is None and unknown:
        yield warn(
            "catalog",
            f"without the list of projects nobody knows the ids of {', '.join(map(repr, unknown))}",
            "give the ids (org-…) under `projects`",
            about=name,
        )
    if catalog is None:
        return
    if (listed := _whole(discovery)) is not None:
        for one in unmatched(account.selection(), listed):
            yield warn("catalog", one.sentence, "correct the word, or take it out", about=name)
    zones = {target.zone for target in asked if target.zone}
    regions = {target.region for target in asked}
    places = counted(len(zones), "zone") if zones else counted(len(regions), "region")
    if not asked:
        yield fail(
            "catalog",
            f"the selection matches none of {counted(len(catalog.places), 'zone')}",
            "widen projects, regions, zones or kinds; `crawler config show` tells what counts",
            about=name,
        )
        return
    yield ok("catalog", f"{counted(len(asked), 'target')} in {places}", about=name)
    yield _rate(account, len(asked))


def _rate(account: AccountSettings, targets: int) -> Finding:
    limits = account.limits
    seconds = targets * limits.period_seconds / limits.rate
    each = f"{limits.rate:g} {agreeing(limits.rate, 'request')} per {limits.period_seconds:g} s"
    if seconds > limits.run_deadline_seconds:
        return fail(
            "rate",
            f"at {each} asking {counted(targets, 'target')} takes {seconds:.0f} s, and the run ends after "
            f"{limits.run_deadline_seconds:g} s",
            "raise rate as far as the provider allows, or run_deadline_seconds, or select less",
            about=account.name,
        )
    more = ", and longer with the matrix: `crawler run --dry-run`" if account.is_auto else ""
    return ok("rate", f"at {each} a run takes at least {max(1, round(seconds))} s{more}", about=account.name)


def via(proxy: Proxy | None) -> str:
    """Name the proxy that an address was reached through; empty where there is none."""
    return f", through the proxy {proxy}" if proxy is not None else ""


def way_fix(proxy: Proxy | None) -> str:
    """Say what to look at where an address cannot be reached."""
    if proxy is None:
        return "check the address, the network, a proxy or firewall, and the certificates of this machine"
    said = f"${proxy.variable}" if proxy.variable else "`proxy`"
    return (
        f"check {said}: its host, port, user and password, and what it lets through; `proxy`, `no_proxy` and `ca_file` "
        "in [network] say otherwise"
    )
