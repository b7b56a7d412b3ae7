"""
The shape of `crawler.toml`: which keys there are, their types, defaults and bounds, one pydantic model per table.

Strict, and nothing extra: a key that is not here is a typing mistake. What takes more than one key to see is in
`checks.py`.
"""

from __future__ import annotations

import ipaddress
import math
import re
import unicodedata
from datetime import timedelta
from email.utils import getaddresses
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from crawler.config.models import (
    DEFAULT_DATABASE,
    DEFAULT_ENDPOINT,
    DEFAULT_STALE_AFTER,
    DEFAULT_TIMEZONE,
    ChannelName,
)
from crawler.config.sources import Expanded
from crawler.config.zones import zone_of
from crawler.domain.models import EventWord
from crawler.domain.objections import Tolerable
from crawler.domain.proxies import DIRECT, FROM_ENVIRONMENT, parse_proxy
from crawler.domain.subscriptions import parse_pin, parse_when
from crawler.domain.timefmt import parse_duration

_LARGEST_NUMBER = 1_000_000_000
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _from_environment(value: Any) -> Any:
    """Let `port = "${PORT}"` be a number: texts from the environment have no other type."""
    if not isinstance(value, Expanded):
        return value
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    return value


def _sensible(value: float) -> float:
    """Keep what is computed from it, times and sums, inside of what Python and databases hold."""
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    if value > _LARGEST_NUMBER:
        raise ValueError(f"must be at most {_LARGEST_NUMBER:,.0f}")
    if 0 < value < 1 / _LARGEST_NUMBER:
        raise ValueError("is too small")
    return value


def _nonempty(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    if _has_controls(text):
        raise ValueError("must not contain control characters")
    return text


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text)


def _name(text: str) -> str:
    _nonempty(text)
    if "/" in text:
        raise ValueError("must not contain /, which separates the parts of a target")
    if text != text.strip():
        raise ValueError("must not begin or end with a space")
    return text


def _duration(text: str) -> str:
    if parse_duration(text) <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return text


def _zone(name: str) -> str:
    zone_of(name)
    return name


def split_url(text: str) -> SplitResult:
    """Take an http(s) address apart; raise ValueError saying what is wrong with it."""
    try:
        parts = urlsplit(text)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("is no URL: use one such as https://api.ucloud.cn/") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        raise ValueError("must be an http or https URL such as https://api.ucloud.cn/")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a user or password")
    if parts.query or parts.fragment:
        raise ValueError("must not carry a query or fragment")
    if not _is_host(parts.hostname):
        raise ValueError("names a host that cannot be: use an address, or a name whose labels have 1 to 63 characters")
    return parts


def _is_host(host: str) -> bool:
    """Tell whether *host* is an address, or a name that can be looked up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return True
    try:
        labels = host.removesuffix(".").encode("idna").decode().split(".")
    except UnicodeError:
        return False
    if sum(map(len, labels)) + len(labels) > 254 or labels[-1].isdigit():
        return False
    return all(re.fullmatch(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", label) for label in labels)


def _endpoint(text: str) -> str:
    if _has_controls(text) or " " in text:
        raise ValueError("must not contain spaces or control characters")
    parts = split_url(text)
    return parts._replace(path=parts.path or "/").geturl()


def _ping(text: str) -> str:
    if _has_controls(text) or " " in text or not text.isascii():
        raise ValueError("must be ASCII without spaces or control characters")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ValueError("must be an http or https URL such as https://hc-ping.com/<uuid>")
    return text


def _proxy(text: str) -> str:
    if text not in (FROM_ENVIRONMENT, DIRECT):
        parse_proxy(text)
    return text


def _hook(text: str) -> str:
    if _has_controls(text) or " " in text:
        raise ValueError("must not contain spaces or control characters")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", text):
        raise ValueError("must be a URL")
    return text


def _header(value: str) -> str:
    if _has_controls(value):
        raise ValueError("must not contain control characters")
    if not value.isascii():
        raise ValueError("must be ASCII")
    return value.strip()


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is no header name")
    return name


def _address(text: str) -> str:
    _nonempty(text)
    found = getaddresses([text])
    local, at, domain = found[0][1].rpartition("@")
    if len(found) != 1 or not (at and local and domain) or (" " in text.strip() and "<" not in text):
        raise ValueError("must be a mail address")
    if not found[0][1].isascii():
        raise ValueError("must be ASCII but for the name before it (a domain has an xn-- form)")
    return text.strip()


def _schedule(text: str) -> str:
    parse_when(text)
    return text


def _patience(text: str) -> str:
    parse_duration(text)
    return text


def _pin(text: str) -> str:
    parse_pin(text)
    return text


def _listed(value: Any) -> Any:
    """Let one text stand for a list of one."""
    return [value] if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(_nonempty)]
Name = Annotated[str, AfterValidator(_name)]
Duration = Annotated[str, AfterValidator(_duration)]
Zone = Annotated[str, AfterValidator(_zone)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Address = Annotated[str, AfterValidator(_address)]
Ping = Annotated[str, AfterValidator(_ping)]
ProxyText = Annotated[str, AfterValidator(_proxy)]
Hook = Annotated[str, AfterValidator(_hook)]
Globs = Annotated[list[Text], Field(min_length=1)]
GlobOrGlobs = Annotated[list[Text], BeforeValidator(_listed)]
Schedule = Annotated[str, AfterValidator(_schedule)]
Patience = Annotated[str, AfterValidator(_patience)]
PinText = Annotated[str, AfterValidator(_pin)]
Number = Annotated[float, BeforeValidator(_from_environment), AfterValidator(_sensible), Field(gt=0)]
Count = Annotated[int, BeforeValidator(_from_environment), Field(ge=1, le=_LARGEST_NUMBER)]
Headers = dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header)]]


class Table(BaseModel):
    """What every table has in common."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LimitsTable(Table):
    """`[limits]` and `[accounts.limits]`."""

    rate: Number = 10.0
    period_seconds: Number = 1.0
    concurrency: Annotated[Count, Field(le=1000)] = 16
    attempts: Annotated[Count, Field(le=100)] = 4
    timeout_seconds: Number = 65.0
    run_deadline_seconds: Number = 600.0


class GuardTable(Table):
    """`[guard]`."""

    ratio: Annotated[Number, Field(le=1)] = 0.5
    min_images: Count = 2
    confirmations: Count = 2


class PlaceTable(Table):
    """`[[accounts.places]]`."""

    region: Name
    zone: Name
    project: Name | None = None


class VariantTable(BaseModel):
    """`[[accounts.variants]]`: a name, and request parameters of the account's kinds."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    name: Name


class AccountTable(Table):
    """`[[accounts]]`, once secrets are read and a profile is resolved."""

    name: Name
    endpoint: Endpoint = DEFAULT_ENDPOINT
    profile: Text | None = None
    public_key: Text
    private_key: Text
    projects: Globs = ["*"]
    regions: Globs = ["*"]
    zones: Globs = ["*"]
    kinds: Globs = ["uk8s-image"]
    headers: Headers = {}
    proxy: ProxyText | None = None
    ca_file: Text | None = None
    variants: list[VariantTable] = []
    places: list[PlaceTable] = []
    tolerate: list[Tolerable] = []
    limits: LimitsTable = LimitsTable()


class NetworkTable(Table):
    """`[network]`: how whatever is asked and told is reached, unless an account or a report says otherwise."""

    proxy: ProxyText = FROM_ENVIRONMENT
    no_proxy: list[Text] = []
    ca_file: Text | None = None


class SmtpTable(Table):
    """`[smtp]`."""

    host: Text
    port: Annotated[Count, Field(le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: Text | None = None
    password: Text | None = None
    sender: Annotated[Address, Field(alias="from")]
    timeout_seconds: Number = 30.0
    ca_file: Text | None = None
    verify: bool = True


class MetricsTable(Table):
    """`[metrics]`."""

    textfile: Text | None = None


class FiltersTable(Table):
    """`[reports.filters]`."""

    account: GlobOrGlobs = []
    project: GlobOrGlobs = []
    region: GlobOrGlobs = []
    zone: GlobOrGlobs = []
    kind: GlobOrGlobs = []
    name: GlobOrGlobs = []
    gpu: bool | None = None
    event: Annotated[list[EventWord], BeforeValidator(_listed)] = []


class ReportTable(Table):
    """`[[reports]]`."""

    name: Name
    channel: ChannelName = "email"
    to: Annotated[list[Address], Field(min_length=1)] = []
    url: Hook | None = None
    secret: Text | None = None
    proxy: ProxyText | None = None
    ca_file: Text | None = None
    when: Schedule = "every-run"
    timezone: Zone | None = None
    language: Literal["en", "zh"] = "en"
    empty: bool = False
    patience: Patience = "1h"
    alert_after: Duration = "1h"
    urgent: list[Literal["pins"]] = ["pins"]
    pins: list[PinText] = []
    pins_file: Text | None = None
    filters: FiltersTable = FiltersTable()


class FileTable(Table):
    """The whole file."""

    database: Text = DEFAULT_DATABASE
    timezone: Annotated[Zone, Field(validate_default=True)] = DEFAULT_TIMEZONE
    stale_after: Duration = DEFAULT_STALE_AFTER
    report_deadline_seconds: Number = 120.0
    ping: Ping | None = None
    accounts: list[AccountTable] = []
    limits: LimitsTable = LimitsTable()
    guard: GuardTable = GuardTable()
    metrics: MetricsTable = MetricsTable()
    network: NetworkTable = NetworkTable()
    smtp: SmtpTable | None = None
    reports: list[ReportTable] = []


#: Keys that hold a secret, or may: each may be given as `<key>_file`, and no message shows their values.
SECRET_KEYS = frozenset(
    {"database", "ping", "public_key", "private_key", "password", "headers", "url", "secret", "proxy"}
)

_MODELS: dict[tuple[str, ...], type[BaseModel]] = {
    (): FileTable,
    ("accounts",): AccountTable,
    ("accounts", "variants"): VariantTable,
    ("accounts", "places"): PlaceTable,
    ("accounts", "limits"): LimitsTable,
    ("limits",): LimitsTable,
    ("guard",): GuardTable,
    ("metrics",): MetricsTable,
    ("network",): NetworkTable,
    ("smtp",): SmtpTable,
    ("reports",): ReportTable,
    ("reports", "filters"): FiltersTable,
}


def keys_of(table: tuple[str, ...]) -> list[str]:
    """Give the keys that *table* may have, `…_file` variants included."""
    model = _MODELS.get(table)
    if model is None:
        return []
    names = [field.alias or name for name, field in model.model_fields.items()]
    return [*names, *(f"{name}_file" for name in names if name in SECRET_KEYS - {"headers"})]


def tables() -> list[tuple[str, ...]]:
    """Give the paths of all tables."""
    return list(_MODELS)


def model_of(table: tuple[str, ...]) -> type[BaseModel]:
    """Give the model of *table*."""
    return _MODELS[table]
