"""
Forward proxies: which one leads to an address, by a setting or by the environment's variables, and what its refusal
means. Pure: the environment is an argument.

A proxy is spoken to over plain HTTP; what goes through it is a tunnel (CONNECT) where the address is https, else the
request itself. An address of this machine is never asked through a proxy.
"""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

#: What `proxy` may say beside an address.
FROM_ENVIRONMENT, DIRECT = "env", "none"
_FORM = "must be http://host:port or http://user:password@host:port, or env or none"
_DEFAULT_PORTS = {"http": 80, "https": 443}
#: The proxy itself is at fault, or who stands behind it; another try may help.
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One forward proxy; its text and its repr show neither user nor password."""

    #: As in `http://proxy.example.com:3128`.
    url: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    #: The environment variable that names it; empty: the configuration does.
    variable: str = ""

    def __str__(self) -> str:
        """Name the proxy, and the variable it comes from."""
        return f"{self.url} (${self.variable})" if self.variable else self.url

    @property
    def host(self) -> str:
        """Return the proxy's name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Return the proxy's port."""
        return urlsplit(self.url).port or _DEFAULT_PORTS["http"]

    @property
    def authorization(self) -> dict[str, str]:
        """Return the header that logs in at the proxy; empty without a user. It is for the proxy's eyes alone."""
        if not self.username:
            return {}
        token = b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {token}"}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what no text may show: the password, and the header's value that holds it."""
        return (self.password, *(value.removeprefix("Basic ") for value in self.authorization.values()))

    def headers(self, url: str) -> dict[str, str]:
        """Return what a request for *url* itself says to the proxy: nothing where it goes through a tunnel."""
        return {} if _is_tunnelled(url) else self.authorization

    def tunnel_headers(self, url: str) -> dict[str, str]:
        """Return what the CONNECT before a request for *url* says to the proxy."""
        return self.authorization if _is_tunnelled(url) else {}

    def refusal(self, status: int, reason: str, host: str) -> str:
        """Say what the proxy's own answer *status* to a request for *host* means."""
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            if self.username:
                return f"the proxy {self} refused the user and password (HTTP 407)"
            return f"the proxy {self} wants a user and a password (HTTP 407): give it as http://user:password@host:port"
        said = f"HTTP {status} {reason}".rstrip()
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return f"the proxy {self} cannot reach {host} ({said})"
        return f"the proxy {self} does not let connections to {host} through ({said})"

    def unreachable(self, reason: str | None) -> str:
        """Say that there is no connection to the proxy itself."""
        return f"the proxy {self} cannot be reached: {reason}"


def is_passing(status: int) -> bool:
    """Return whether another try may help after a proxy answered *status*."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING


def parse_proxy(text: str) -> Proxy:
    """Return the proxy that *text*, a URL, names; raise ValueError saying what is wrong, without quoting it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(_FORM) from None
    if parts.scheme in ("https", "socks", "socks4", "socks4a", "socks5", "socks5h"):
        raise ValueError(f"names a proxy that is spoken to over {parts.scheme}, which is not supported; it {_FORM}")
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(_FORM)
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("must not contain spaces or control characters")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if ":" in username:
        raise ValueError("names a user with a colon, which no proxy can tell from the password")
    return Proxy(url=f"http://{host}:{port or _DEFAULT_PORTS['http']}", username=username, password=password)


def proxy_for(url: str, setting: str, no_proxy: Iterable[str], environ: Mapping[str, str]) -> Proxy | None:
    """
    Return the proxy that leads to *url*; None: it is asked directly.

    *setting* is a proxy's URL, to which *no_proxy* names the exceptions, `none`, or `env`: then HTTP_PROXY or
    HTTPS_PROXY, by the scheme of *url*, and NO_PROXY of *environ* say it, of which the lower-case form wins. Raises
    ValueError where a proxy is written in a way that is not understood, without quoting it.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    if setting == DIRECT or is_loopback(host):
        return None
    if setting != FROM_ENVIRONMENT:
        return None if _is_excepted(host, port, no_proxy) else parse_proxy(setting)
    variable = environment_variable(f"{parts.scheme}_proxy", environ)
    if not variable or _is_excepted(host, port, exceptions_of(environ)):
        return None
    text = environ[variable]
    try:
        found = parse_proxy(text if "://" in text else f"http://{text}")
    except ValueError as exc:
        raise ValueError(f"takes the proxy from the environment, whose {variable} {exc}") from None
    return replace(found, variable=variable)


def exceptions_of(environ: Mapping[str, str]) -> list[str]:
    """Return what NO_PROXY, or no_proxy, of *environ* lists."""
    variable = environment_variable("no_proxy", environ)
    return environ[variable].replace(",", " ").split() if variable else []


def environment_variable(name: str, environ: Mapping[str, str]) -> str:
    """Return which of *name*, in lower case, and its upper-case form counts in *environ*; empty: neither says any."""
    found = name if name in environ else name.upper()
    return found if environ.get(found, "").strip() else ""


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_tunnelled(url: str) -> bool:
    return url.lower().startswith("https:")


def _is_excepted(host: str, port: int, exceptions: Iterable[str]) -> bool:
    return any(_fits(host.lower(), port, one.strip().lower()) for one in exceptions)


def _fits(host: str, port: int, exception: str) -> bool:
    """Return whether *exception* covers *host*: `*`, a name and all below it, an address or a range, perhaps a port."""
    front, colon, stated = exception.rpartition(":")
    if colon and stated.isdecimal() and (front.endswith("]") or ":" not in front):
        if int(stated) != port:
            return False
        exception = front
    if exception == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(exception.strip("[]"), strict=False)
    except ValueError:
        pass  # one of the two is a name
    suffix = exception.removeprefix("*").strip(".")
    name = host.rstrip(".")
    return bool(suffix) and f".{name}".endswith(f".{suffix}")
