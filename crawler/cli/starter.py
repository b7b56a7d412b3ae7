"""The text of a starter `crawler.toml`. Pure: what the environment and the cloud told in, commented TOML out."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crawler.domain.models import DEFAULT_PROJECT, Place, Project

_WIDTH = 110
_MANY = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What a starter configuration says."""

    endpoint: str
    #: A profile of the UCloud CLI instead of keys from the environment.
    profile: str | None = None
    #: UCLOUD_PROJECT_ID, when it is set.
    project_id: str = ""
    #: Values as they stand in the file: references where the value is in the environment.
    headers: Mapping[str, str] = field(default_factory=dict)
    timezone: str
    #: None: not told by the cloud.
    projects: tuple[Project, ...] | None = None
    places: tuple[Place, ...] | None = None
    #: The cloud answered that this key may not list projects.
    projects_refused: bool = False

    @property
    def watched_projects(self) -> list[str]:
        """Give the globs of projects: the configured one, no ProjectId where they may not be listed, or all."""
        if self.project_id:
            return [self.project_id]
        return [DEFAULT_PROJECT] if self.projects_refused else ["*"]


def render(starter: Starter) -> str:
    """Write the configuration, with what the cloud told as comments."""
    lines = [
        "# Written by `crawler init`. `crawler config validate` checks it; `crawler config show` tells what counts.",
        "",
        "# Relative to this file; a postgresql:// URL works too.",
        'database = "sqlite:///crawler.db"',
        "# Times without an offset are meant, and times are shown, in this zone.",
        f"timezone = {_text(starter.timezone)}",
        "# What was last observed longer ago than this is shown as unknown.",
        'stale_after = "26h"',
        "",
        "[[accounts]]",
        "# The account's identity in the history: choose it before the first run, then keep it.",
        'name = "default"',
        f"endpoint = {_text(starter.endpoint)}",
        *_keys(starter),
        *_projects(starter),
        *_places(starter),
        'kinds = ["uk8s-image"]',
        *_headers(starter),
        "",
        "# Requests per period, for each account; retries count.",
        "[limits]",
        "rate = 10",
        "period_seconds = 1.0",
        "concurrency = 16",
    ]
    return "\n".join(lines) + "\n"


def _keys(starter: Starter) -> list[str]:
    if starter.profile is not None:
        return ["# The keys are those of the UCloud CLI (~/.ucloud).", f"profile = {_text(starter.profile)}"]
    return [
        '# Taken from the environment, so that no key stands here. Or: private_key_file = "/etc/crawler/private.key"',
        'public_key = "${UCLOUD_PUBLIC_KEY}"',
        'private_key = "${UCLOUD_PRIVATE_KEY}"',
    ]


def _projects(starter: Starter) -> list[str]:
    lines = ["", '# Globs over ids and names; "default" sends no ProjectId.']
    if starter.projects is not None:
        named = [f"{p.project_id} ({p.name})" if p.name else p.project_id for p in starter.projects]
        lines += _comment(f"{count(named, 'project')}: {_listed(named)}")
    elif starter.projects_refused:
        lines += _comment("The account may not list its projects: name the ids to watch.")
    return [*lines, f"projects = {_texts(starter.watched_projects)}"]


def _places(starter: Starter) -> list[str]:
    if starter.places is None:
        return [
            "",
            *_comment("The regions could not be listed when this was written; runs will try again."),
            'regions = ["*"]',
            'zones = ["*"]',
            "# If the account may never list them, name the places instead, at the end of this account:",
            "#[[accounts.places]]",
            '#region = "hk"',
            '#zone = "hk-02"',
            "",
        ]
    regions = sorted({place.region for place in starter.places})
    zones = sorted({place.zone for place in starter.places})
    return [
        "",
        *_comment(f"{count(regions, 'region')}: {_listed(regions)}"),
        'regions = ["*"]',
        *_comment(f"{count(zones, 'zone')}: {_listed(zones)}"),
        'zones = ["*"]',
        "",
    ]


def _headers(starter: Starter) -> list[str]:
    if not starter.headers:
        return []
    pairs = ", ".join(f"{_text(name)} = {_text(value)}" for name, value in starter.headers.items())
    return ["", "# Sent with every request.", f"headers = {{ {pairs} }}"]


def count(items: Sequence[object], noun: str) -> str:
    """Say how many, as in `24 zones`."""
    return f"{len(items)} {noun}" if len(items) == 1 else f"{len(items)} {noun}s"


def _listed(items: list[str]) -> str:
    more = f", and {len(items) - _MANY} more" if len(items) > _MANY else ""
    return ", ".join(items[:_MANY]) + more


def _comment(text: str) -> list[str]:
    """Fold *text* into comment lines; nothing in it can end the comment."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return [f"# {line}" for line in textwrap.wrap(plain, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _texts(values: list[str]) -> str:
    return f"[{', '.join(_text(value) for value in values)}]"
