"""
The settings as the rest of the program sees them: frozen values, no TOML, no environment, no pydantic.

Secrets and what may carry one (database address, headers) never show in a repr.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from crawler.db.url import parse_address
from crawler.domain.models import DEFAULT_VARIANT
from crawler.domain.objections import Tolerable
from crawler.domain.proxies import Proxy
from crawler.domain.subscriptions import Subscription
from crawler.domain.targets import Selection

DEFAULT_ENDPOINT = "https://api.ucloud.cn/"
DEFAULT_DATABASE = "sqlite:///crawler.db"
DEFAULT_TIMEZONE = "Asia/Shanghai"
DEFAULT_STALE_AFTER = "26h"
MASK = "********"
ChannelName = Literal["email", "webhook", "feishu", "apprise"]


class Secret:
    """A text that no repr, log line, format string or pickle shows; `reveal()` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Give the text itself, for the one place that sends or signs with it."""
        return self._text

    def __repr__(self) -> str:
        """Hide the text."""
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        """Hide the text."""
        return MASK

    def __bool__(self) -> bool:
        """Tell whether there is any text."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Compare by text."""
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        """Hash by text."""
        return hash((Secret, self._text))

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be written anywhere."""
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How gently one account is asked."""

    #: Requests per period.
    rate: float = 10.0
    period_seconds: float = 1.0
    concurrency: int = 16
    attempts: int = 4
    timeout_seconds: float = 65.0
    run_deadline_seconds: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """When a withdrawal is not believed at once."""

    ratio: float = 0.5
    min_images: int = 2
    confirmations: int = 2


class PlaceSettings(NamedTuple):
    """A place to ask where discovery cannot tell; `project` None stands for the account's projects."""

    region: str
    zone: str
    project: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """One key pair at one endpoint, and what of its catalog is wanted."""

    name: str
    endpoint: str = DEFAULT_ENDPOINT
    public_key: str = field(repr=False)
    private_key: Secret
    #: Globs over ids and names; `default` sends no ProjectId.
    projects: tuple[str, ...] = ("*",)
    regions: tuple[str, ...] = ("*",)
    zones: tuple[str, ...] = ("*",)
    #: Names of kinds (globs are expanded already).
    kinds: tuple[str, ...] = ("uk8s-image",)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: The forward proxy that leads to the endpoint; None: it is asked directly.
    proxy: Proxy | None = None
    #: Certificates to trust instead of the system's.
    ca_file: Path | None = None
    #: Extra request parameters by variant name; `default`, which adds none, is always there and first.
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {DEFAULT_VARIANT: {}})
    places: tuple[PlaceSettings, ...] = ()
    #: Checks of answers that are switched off.
    tolerate: tuple[Tolerable, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def project_ids(self) -> tuple[str, ...]:
        """Give the configured projects that are plain ids: what is asked where GetProjectList is refused."""
        return tuple(project for project in self.projects if not re.search(r"[*?\[]", project))

    def selection(self) -> Selection:
        """Give what `targets.expand` needs to know."""
        return Selection(
            account=self.name,
            projects=self.projects,
            regions=self.regions,
            zones=self.zones,
            kinds=self.kinds,
            variants=tuple(self.variants),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings:
    """The mail server that reports leave through."""

    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: Secret | None = None
    sender: str
    #: The longest wait for an answer of the server.
    timeout_seconds: float = 30.0
    #: Certificates to trust instead of the system's.
    ca_file: Path | None = None
    #: Whether the server's certificate has to be good.
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """Whom to tell, how, and of what."""

    channel: ChannelName = "email"
    #: Mail addresses; of another channel the one name of its address, which gives nothing away.
    to: tuple[str, ...]
    #: Where the other channels send to, and what they sign with.
    url: Secret | None = None
    secret: Secret | None = None
    #: The forward proxy that leads there, and the certificates to trust instead of the system's.
    proxy: Proxy | None = None
    ca_file: Path | None = None
    #: How long a digest may stay undelivered before a run says so with its exit code.
    alert_after: timedelta = timedelta(hours=1)
    #: What to watch, and when to tell it.
    subscription: Subscription

    @property
    def name(self) -> str:
        """Give the subscription's name."""
        return self.subscription.name

    @property
    def way(self) -> str:
        """Give the same for reports that share a way out: there is one mail server, and else an address for each."""
        return self.channel if self.channel == "email" else f"{self.channel} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a run needs to know, read once."""

    #: An SQLAlchemy URL; SQLite paths in it are absolute.
    database: str = field(repr=False)
    timezone: ZoneInfo
    stale_after: timedelta
    #: Empty where only the history was asked for (`load(…, need_accounts=False)`).
    accounts: tuple[AccountSettings, ...] = ()
    limits: Limits = field(default_factory=Limits)
    guard: GuardSettings = field(default_factory=GuardSettings)
    smtp: SmtpSettings | None = None
    reports: tuple[ReportSettings, ...] = ()
    #: How long sending reports may take after a run.
    report_deadline_seconds: float = 120.0
    #: Told of the start and the end of every run, as healthchecks.io understands it.
    ping: Secret | None = None
    #: What leads to the switch, and which certificates are trusted there instead of the system's.
    ping_proxy: Proxy | None = None
    ping_ca_file: Path | None = None
    #: Where node_exporter's textfile collector finds the metrics of the last run.
    metrics_textfile: Path | None = None
    #: The file they came from; None: defaults and environment alone.
    source: Path | None = None
    #: What is allowed but unwise, one sentence each.
    warnings: tuple[str, ...] = ()

    @property
    def database_shown(self) -> str:
        """Give the database's address without its password, for people."""
        return str(parse_address(self.database))
