"""
The settings as the rest of the program sees them: one frozen class per table of `crawler.toml`, one field per key.

Here alone a key is written in code. Its annotation names its type and check in `key_types.py`, which pydantic is
derived from; it is resolved only when a file is checked, so that whoever needs the values alone loads no pydantic. A
field that no repr shows holds a secret, or may: its key has a `…_file` beside it, and no message shows its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from crawler.db.url import parse_address
from crawler.domain.filters import is_glob, part_fits
from crawler.domain.guard import GuardPolicy
from crawler.domain.kinds import KINDS
from crawler.domain.matrix import LATEST_BUT_ONE, MatrixChoice
from crawler.domain.models import DEFAULT_VARIANT
from crawler.domain.objections import Tolerable
from crawler.domain.proxies import FROM_ENVIRONMENT, Proxy
from crawler.domain.staleness import STALE_AFTER
from crawler.domain.subscriptions import Language, Subscription, Urgency, Watch
from crawler.domain.targets import Selection
from crawler.domain.timefmt import show_duration
from crawler.errors import EmptySelection

if TYPE_CHECKING:
    import pydantic
    from pydantic_core import CoreSchema

    from crawler.config.key_types import (
        Address,
        Addresses,
        Count,
        Distinct,
        Duration,
        Endpoint,
        Event,
        FilePath,
        Globs,
        Headers,
        Hook,
        Ignorable,
        Kinds,
        Name,
        Number,
        OneOrMore,
        Patience,
        Ping,
        Pins,
        ProxyText,
        Rows,
        Schedule,
        SecretText,
        Text,
        Variants,
        Versions,
        WebAddress,
        Zone,
    )

DEFAULT_ENDPOINT = "https://api.ucloud.cn/"
DEFAULT_DATABASE = "sqlite:///crawler.db"
DEFAULT_TIMEZONE = "Asia/Shanghai"
MASK = "********"
#: `variants`: those of the matrix.
AUTO: Literal["auto"] = "auto"
HookFormat = Literal["json", "cloudevents"]
ChannelName = Literal["email", "webhook", "feishu", "apprise"]


class Secret:
    """A text that no repr, log line, format string or pickle shows; `reveal()` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one place that sends or signs with it."""
        return self._text

    def __repr__(self) -> str:
        """Hide the text."""
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        """Hide the text."""
        return MASK

    def __bool__(self) -> bool:
        """Return whether there is any text."""
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


class Table:
    """What the tables have in common: pydantic reads one as `key_types.py` derives it from the fields."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        """Return how pydantic makes an instance of a table of the file."""
        from crawler.config.key_types import table_schema

        return table_schema(cls, handler)


# The metadata of a field: its "key" where that is no name for Python (None: it is no key), and the "default" as a file
# would have it where that is no value yet; the constructor wants the value then.
_NO_KEY = {"key": None}


def keys_of(table: Table | type[Table]) -> dict[str, Field[Any]]:
    """Return the fields of *table* by their keys in the file."""
    named = {one.metadata.get("key", one.name): one for one in fields(table)}  # type: ignore[arg-type] # each is one
    return {key: one for key, one in named.items() if key is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(Table):
    """`[limits]` and `[accounts.limits]`: how gently one account is asked."""

    #: Requests per period.
    rate: Number = 10.0
    period_seconds: Number = 1.0
    concurrency: Annotated[Count, pydantic.Field(le=1000)] = 16
    attempts: Annotated[Count, pydantic.Field(le=100)] = 4
    timeout_seconds: Number = 65.0
    run_deadline_seconds: Number = 600.0
    #: The name of a rate that accounts share with each other, on all hosts.
    budget: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings(Table):
    """`[fleet]`: what `crawler worker` keeps to."""

    #: How often each account is crawled.
    every: Duration = field(default=timedelta(minutes=15), metadata={"default": "15m"})
    #: A worker that was not heard of for so long loses its accounts to others.
    evict_after: Duration = field(default=timedelta(seconds=10), metadata={"default": "10s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings(Table):
    """`[guard]`: when a withdrawal is not believed at once."""

    ratio: Annotated[Number, pydantic.Field(le=1)] = GuardPolicy().ratio
    min_images: Count = GuardPolicy().min_images
    confirmations: Count = GuardPolicy().confirmations


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSettings(Table):
    """`[[accounts.places]]`: a place to ask where discovery cannot tell; without `project`, in the account's."""

    region: Name
    zone: Name
    project: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreSettings(Table):
    """`[accounts.ignore]`: what is not read of the records, as the API or the JSON output names it."""

    fields: Ignorable = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSettings(Table):
    """`[accounts.matrix]`: what `variants = "auto"` asks about of what is offered."""

    #: `latest-1`, `all`, or versions by name: `1.30` is any `1.30.…`.
    versions: Versions = field(default=(LATEST_BUT_ONE,), metadata={"default": LATEST_BUT_ONE})
    #: Globs over GPU types.
    gpu_types: Globs = ("*",)
    #: Targets of UK8S images that one run asks at most.
    max_targets: Count = MatrixChoice().max_targets

    @property
    def choice(self) -> MatrixChoice:
        """Return what `domain.matrix` needs to know."""
        return MatrixChoice(versions=self.versions, gpu_types=self.gpu_types, max_targets=self.max_targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings(Table):
    """`[[accounts]]`: one key pair at one endpoint, and what of its catalog is wanted."""

    name: Name
    endpoint: Endpoint = DEFAULT_ENDPOINT
    #: Read by the loader, which replaces it by the keys it gives.
    profile: Text | None = None
    public_key: Text = field(repr=False)
    private_key: SecretText = field(repr=False)
    #: Globs over ids and names; `default` sends no ProjectId.
    projects: Globs = ("*",)
    regions: Globs = ("*",)
    zones: Globs = ("*",)
    #: Names of kinds (globs are expanded already).
    kinds: Kinds = ("uk8s-image",)
    headers: Headers = field(default_factory=dict, repr=False)
    proxy_text: ProxyText | None = field(default=None, repr=False, metadata={"key": "proxy"})
    #: Certificates to trust instead of the system's.
    ca_file: FilePath | None = None
    #: Extra request parameters by variant name, `default`, which adds none, first; "auto": those of the matrix.
    variants: Variants = field(default_factory=lambda: {DEFAULT_VARIANT: {}})
    matrix: MatrixSettings = MatrixSettings()
    places: Rows[PlaceSettings] = ()
    #: Checks of answers that are switched off.
    tolerate: Distinct[Tolerable] = ()
    ignore: IgnoreSettings = IgnoreSettings()
    #: Whether each region is asked without a Zone once a day, and compared with the sum of its zones.
    crosscheck: Literal["off", "daily"] = "off"
    #: The file's common ones, and what this account has of its own.
    limits: Limits = Limits()
    #: The forward proxy that leads to the endpoint; None: it is asked directly.
    proxy: Proxy | None = field(default=None, metadata=_NO_KEY)

    @property
    def project_ids(self) -> tuple[str, ...]:
        """Return the configured projects that are plain ids: what is asked where GetProjectList is refused."""
        return tuple(project for project in self.projects if not is_glob(project))

    @property
    def is_auto(self) -> bool:
        """Return whether the variants follow from what the cloud offers."""
        return self.variants == AUTO

    @property
    def named_variants(self) -> Mapping[str, Mapping[str, str]]:
        """Return the configured request parameters by variant name, `default` first; the matrix has others."""
        return {DEFAULT_VARIANT: {}} if isinstance(self.variants, str) else self.variants

    def selection(self) -> Selection:
        """Return what `targets.expand` needs to know; a run that found out what is offered adds the matrix."""
        return Selection(
            account=self.name,
            projects=self.projects,
            regions=self.regions,
            zones=self.zones,
            kinds=self.kinds,
            variants=tuple(self.named_variants),
            unfit=frozenset(
                (kind, name)
                for kind in self.kinds
                for name, parameters in self.named_variants.items()
                if not parameters.keys() <= set(KINDS[kind].parameters)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings(Table):
    """`[network]`: how every server is reached, unless an account or a report says otherwise."""

    proxy_text: ProxyText = field(default=FROM_ENVIRONMENT, repr=False, metadata={"key": "proxy"})
    no_proxy: Rows[Text] = ()
    ca_file: FilePath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings(Table):
    """`[metrics]`: what Prometheus reads."""

    #: Where node_exporter's textfile collector finds the metrics of the last run.
    textfile: FilePath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSettings(Table):
    """`[publish]`: the folder that every run publishes into at its end."""

    dir: FilePath
    #: Where it is served.
    url: WebAddress | None = None
    with_private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSettings(Table):
    """`[smtp]`: the mail server that reports leave through."""

    host: Text
    port: Annotated[Count, pydantic.Field(le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: Text | None = None
    password: SecretText | None = field(default=None, repr=False)
    sender: Address = field(metadata={"key": "from"})
    #: The longest wait for an answer of the server.
    timeout_seconds: Number = 30.0
    #: Certificates to trust instead of the system's.
    ca_file: FilePath | None = None
    #: Whether the server's certificate has to be good.
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFilters(Table):
    """`[reports.filters]`: globs, alone or in a list; without any, everything."""

    account: OneOrMore[Text] = ()
    project: OneOrMore[Text] = ()
    region: OneOrMore[Text] = ()
    zone: OneOrMore[Text] = ()
    kind: OneOrMore[Text] = ()
    name: OneOrMore[Text] = ()
    gpu: bool | None = None
    event: OneOrMore[Event] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings(Table):
    """`[[reports]]`: whom to tell, how, and of what."""

    name: Name
    channel: ChannelName = "email"
    #: Mail addresses; of another channel the one name of its address, which gives nothing away.
    to: Addresses = ()
    #: Where the other channels send to, and what they sign with.
    url: Hook | None = field(default=None, repr=False)
    secret: SecretText | None = field(default=None, repr=False)
    #: The secret before, which signs as well until every receiver has the new one.
    old_secret: SecretText | None = field(default=None, repr=False)
    #: What a webhook's body is: the digest alone, or inside an event.
    format: HookFormat = "json"
    proxy_text: ProxyText | None = field(default=None, repr=False, metadata={"key": "proxy"})
    #: Certificates to trust instead of the system's.
    ca_file: FilePath | None = None
    when: Schedule = field(metadata={"default": "every-run"})
    #: The file's where the report has none.
    timezone: Zone | None = None
    language: Language = "en"
    empty: bool = False
    patience: Patience = field(metadata={"default": "1h"})
    #: How long a digest may stay undelivered before a run says so with its exit code.
    alert_after: Duration = field(metadata={"default": "1h"})
    urgent: Distinct[Urgency] = ("pins",)
    pins: Pins = ()
    #: Read by the loader, which adds its lines to `pins`.
    pins_file: Text | None = None
    #: Files and folders that hold pins, absolute; read whenever the report is composed.
    pins_from: OneOrMore[Text] = ()
    filters: ReportFilters = ReportFilters()
    #: The forward proxy that leads there.
    proxy: Proxy | None = field(default=None, metadata=_NO_KEY)
    #: `publish.url`, for a link to it.
    page_url: str | None = field(default=None, metadata=_NO_KEY)

    @property
    def subscription(self) -> Subscription:
        """Return what to watch, and when to tell it."""
        stated = {one.name for one in fields(Subscription)} - {"watch", "has_all_pins"}
        named = {name: getattr(self, name) for name in stated}
        return Subscription(watch=Watch(**asdict(self.filters)), **named)

    @property
    def route(self) -> str:
        """Return the same for reports that share a route: there is one mail server, and else an address for each."""
        return self.channel if self.channel == "email" else f"{self.channel} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Table):
    """Everything a run needs to know, read once: the top of the file, and its tables."""

    #: An SQLAlchemy URL; SQLite paths in it are absolute.
    database: Text = field(repr=False, metadata={"default": DEFAULT_DATABASE})
    timezone: Zone = field(metadata={"default": DEFAULT_TIMEZONE})
    stale_after: Duration = field(metadata={"default": show_duration(STALE_AFTER)})
    #: How long sending reports may take after a run.
    report_deadline_seconds: Number = 120.0
    #: Told of the start and the end of every run, as healthchecks.io understands it.
    ping: Ping | None = field(default=None, repr=False)
    #: What an incomplete run (exit code 3) tells it: that it was `done`, or that it did `fail`.
    ping_incomplete: Literal["done", "fail"] = "done"
    #: Empty where only the history was asked for (`load(…, need_accounts=False)`).
    accounts: Rows[AccountSettings] = ()
    limits: Limits = Limits()
    guard: GuardSettings = GuardSettings()
    metrics: MetricsSettings = MetricsSettings()
    fleet: FleetSettings = FleetSettings()
    publish: PublishSettings | None = None
    network: NetworkSettings = NetworkSettings()
    smtp: SmtpSettings | None = None
    reports: Rows[ReportSettings] = ()
    #: What leads to the switch, and which certificates are trusted there instead of the system's.
    ping_proxy: Proxy | None = field(default=None, metadata=_NO_KEY)
    ping_ca_file: Path | None = field(default=None, metadata=_NO_KEY)
    #: The file they came from; None: defaults and environment alone.
    source: Path | None = field(default=None, metadata=_NO_KEY)
    #: What is allowed but unwise, one sentence each.
    warnings: tuple[str, ...] = field(default=(), metadata=_NO_KEY)

    def narrowed_to(self, globs: tuple[str, ...]) -> Settings:
        """Return the same for the accounts alone whose names fit *globs* (none: all); raises EmptySelection."""
        accounts = tuple(account for account in self.accounts if part_fits("account", account.name, globs))
        if not accounts and globs:
            known = ", ".join(account.name for account in self.accounts)
            raise EmptySelection(f"No account matches {' or '.join(globs)}; the configuration has {known}.")
        return replace(self, accounts=accounts) if globs else self

    @property
    def database_shown(self) -> str:
        """Return the database's address without its password, for people."""
        return str(parse_address(self.database))


#: Tables without secrets, whatever their keys hold elsewhere.
PUBLIC_TABLES = frozenset({"publish"})
#: Keys that hold a secret, or may: each may be given as `<key>_file`, and no message shows their values.
SECRET_KEYS = frozenset(
    key
    for table in (Settings, AccountSettings, SmtpSettings, ReportSettings)
    for key, one in keys_of(table).items()
    if not one.repr
)
