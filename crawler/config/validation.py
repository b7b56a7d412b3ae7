"""
What one key alone cannot show, and every finding as a sentence: the key, the problem, the nearest valid key.

The checks look at the raw tables, not at the validated models, so that they speak even where validation failed.
Values of keys that may hold a secret, and values from the environment, are never shown.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crawler.config.key_types import expand_kinds, is_host, keys_in, parameter_text, read_settings, split_url, tables
from crawler.config.models import AUTO, SECRET_KEYS, Settings
from crawler.config.sources import Expanded, Findings, Location, path_of
from crawler.domain import matrix
from crawler.domain.filters import named_by
from crawler.domain.kinds import KINDS
from crawler.domain.models import DEFAULT_VARIANT
from crawler.domain.proxies import is_loopback
from crawler.domain.subscriptions import APPRISE_MISSING
from crawler.domain.suggest import did_you_mean
from crawler.domain.text import quoted
from crawler.domain.webhooks import signing_key

_HTTP_CHANNELS = ("webhook", "feishu")


def read(document: dict[str, Any], findings: Findings) -> Settings | None:
    """Return *document* as settings; note what one key alone shows to be wrong, and return None."""
    try:
        return read_settings(document)
    except ValidationError as exc:
        for location, sentence in describe(exc):
            if not findings.covers(location):
                findings.problem(location, sentence)
        return None


def check(document: dict[str, Any], findings: Findings) -> None:
    """Note every problem and warning that needs more than one key to see."""
    _unique(document, "accounts", (), findings)
    _unique(document, "reports", (), findings)
    for location, account in _rows(document, "accounts", ()):
        _unique(account, "variants", location, findings)
        kinds = _kinds(account, location, findings)
        _matrix(account, kinds, location, findings)
        for at, variant in _rows(account, "variants", location):
            _variant(variant, kinds, at, findings)
        _endpoint(account, location, findings)
    _mail(document, findings)
    network = document.get("network")
    is_set = isinstance(network, dict) and not network.keys().isdisjoint(("proxy", "ca_file"))
    for location, report in _rows(document, "reports", ()):
        _report(report, location, findings)
        if is_set and report.get("channel") == "apprise":
            findings.warnings.append(
                f"{path_of(location)}: Apprise goes by HTTPS_PROXY and SSL_CERT_FILE alone, not by [network]"
            )


def _rows(table: dict[str, Any], key: str, location: Location) -> Iterator[tuple[Location, dict[str, Any]]]:
    rows = table.get(key)
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        if isinstance(row, dict):
            yield (*location, key, index), row


def _unique(table: dict[str, Any], key: str, location: Location, findings: Findings) -> None:
    seen: dict[str, str] = {}
    for at, row in _rows(table, key, location):
        name = row.get("name")
        if not isinstance(name, str):
            continue
        if name in seen:
            findings.problem((*at, "name"), f"{name!r} is used already by {seen[name]}")
        seen.setdefault(name, path_of(at))


def _kinds(account: dict[str, Any], location: Location, findings: Findings) -> Sequence[str]:
    globs = account.get("kinds", ["uk8s-image"])
    if not isinstance(globs, list):
        return sorted(KINDS)
    texts = [glob for glob in globs if isinstance(glob, str)]
    for index, glob in enumerate(globs):
        if isinstance(glob, str) and glob.strip() and not expand_kinds([named_by(glob)]):
            known = f"; known: {', '.join(sorted(KINDS))}"
            findings.problem(
                (*location, "kinds", index), f"{glob!r} is no known kind{did_you_mean(glob, KINDS) or known}"
            )
    return expand_kinds(texts) or sorted(KINDS)


def _matrix(account: dict[str, Any], kinds: Sequence[str], location: Location, findings: Findings) -> None:
    """Note a matrix that nobody turned on, and one of no images."""
    is_auto = account.get("variants") == AUTO
    if "matrix" in account and not is_auto:
        findings.warnings.append(f'{path_of((*location, "matrix"))}: is for variants = "auto", and does nothing now')
    if is_auto and matrix.KIND not in kinds:
        findings.problem((*location, "variants"), f'"auto" is for {matrix.KIND}, which is not among `kinds`')


def _variant(variant: dict[str, Any], kinds: Sequence[str], location: Location, findings: Findings) -> None:
    known = sorted({parameter for kind in kinds for parameter in KINDS[kind].parameters})
    parameters = {key: value for key, value in variant.items() if key != "name"}
    if variant.get("name") == DEFAULT_VARIANT:
        findings.problem(
            (*location, "name"), f"{DEFAULT_VARIANT!r} is always there and adds no parameters; choose another name"
        )
    elif not parameters:
        findings.problem(location, f"sets no parameter; {', '.join(kinds)} takes {', '.join(known)}")
    for key, value in parameters.items():
        if key not in known:
            hint = did_you_mean(key, known) or f"; it takes {', '.join(known)}"
            findings.problem((*location, key), f"is no parameter of {', '.join(kinds)}{hint}")
        elif not parameter_text(value):
            findings.problem((*location, key), "must be one value that is not empty")


def _endpoint(account: dict[str, Any], location: Location, findings: Findings) -> None:
    endpoint = account.get("endpoint")
    if not isinstance(endpoint, str):
        return
    try:
        parts = split_url(endpoint)
    except ValueError:
        return
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        at = path_of((*location, "endpoint"))
        findings.warnings.append(
            f"{at}: {parts.hostname} is asked over http, so answers can be read and changed on the way"
        )


def _mail(document: dict[str, Any], findings: Findings) -> None:
    smtp = document.get("smtp")
    if isinstance(smtp, dict):
        host = smtp.get("host")
        if isinstance(host, str) and host and not is_host(host):
            findings.problem(
                ("smtp", "host"), "must be a host's name or address alone; `port` and `security` say the rest"
            )
        if "password" in smtp and "username" not in smtp:
            findings.problem(("smtp", "username"), "is missing, although there is a password")
        if "username" in smtp and "password" not in smtp:
            findings.problem(("smtp", "password"), "is missing, although there is a username (or give password_file)")
        if "password" in smtp and smtp.get("security") == "none" and not is_loopback(str(smtp.get("host"))):
            findings.warnings.append("smtp.security: the password is sent in the clear")
        if smtp.get("verify") is False and not is_loopback(str(smtp.get("host"))):
            findings.warnings.append("smtp.verify: whoever stands in between can read the mails and the password")
    elif any(row.get("channel", "email") == "email" for _, row in _rows(document, "reports", ())):
        findings.problem(("smtp",), "is missing, although a report goes by email")


_NOT_FOR_MAIL = {
    "url": "is for the channels webhook, feishu and apprise; mail has `to`",
    "secret": "is for the channels webhook, feishu and apprise; mail has `to`",
    "proxy": "is for the channels webhook and feishu: mail does not go through an HTTP proxy",
    "ca_file": "is for the channels webhook and feishu; for mail [smtp] has it",
}


def _report(report: dict[str, Any], location: Location, findings: Findings) -> None:
    """Note where a report's address is not that of its channel."""
    channel = report.get("channel", "email")
    _webhook(report, channel, location, findings)
    if channel == "email":
        if "to" not in report:
            findings.problem((*location, "to"), "is missing")
        for key in _NOT_FOR_MAIL:
            if key in report:
                findings.problem((*location, key), _NOT_FOR_MAIL[key])
        return
    if channel not in (*_HTTP_CHANNELS, "apprise"):
        return  # the schema says so
    if "to" in report:
        findings.problem((*location, "to"), f"is for the channel email; {channel} has `url`")
    if "url" not in report:
        findings.problem((*location, "url"), "is missing (or give url_file)")
    if channel == "apprise":
        _apprise(report, location, findings)
        return
    if not findings.covers((*location, "url_file")):
        _hook_url(report.get("url"), location, findings)


def _webhook(report: dict[str, Any], channel: Any, location: Location, findings: Findings) -> None:
    """Note what is wrong with the signing of a webhook, or set for another channel."""
    if channel != "webhook":
        if "old_secret" in report:
            findings.problem((*location, "old_secret"), "is for the channel webhook")
        if report.get("format", "json") != "json":
            findings.problem((*location, "format"), "is for the channel webhook")
        return
    if "secret" not in report:
        findings.problem((*location, "secret"), "is missing: it signs what is sent (or give secret_file)")
    for key in ("secret", "old_secret"):
        if isinstance(report.get(key), str) and not findings.covers((*location, f"{key}_file")):
            try:
                signing_key(report[key])
            except ValueError as exc:
                findings.problem((*location, key), str(exc))


def _apprise(report: dict[str, Any], location: Location, findings: Findings) -> None:
    if "secret" in report:
        findings.problem((*location, "secret"), "is for webhook and feishu; an Apprise URL holds its own")
    for key in ("proxy", "ca_file"):
        if key in report:
            findings.problem((*location, key), "is for webhook and feishu; Apprise goes by the environment alone")
    if importlib.util.find_spec("apprise") is None:
        findings.warnings.append(f"{path_of(location)}: {APPRISE_MISSING}")


def _hook_url(url: Any, location: Location, findings: Findings) -> None:
    at = (*location, "url")
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        host, scheme, _ = (parts.hostname or "", parts.scheme, parts.port) if parts else ("", "", None)
    except ValueError:
        host, scheme = "", ""
    if not isinstance(url, str):
        return  # missing, or the schema says so
    if scheme not in ("http", "https") or not host or not url.isascii():
        findings.problem(at, "must be an http or https URL, in ASCII")
    elif scheme == "http" and not is_loopback(host):
        findings.warnings.append(f"{path_of(at)}: reports go to {host} over http, so both can be read on the way")


_KINDS_OF_VALUE = {
    "string_type": "must be a text in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "string_too_short": "is empty",
}
_BOUNDS = {
    "greater_than": ("gt", "must be greater than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}


def describe(
    error: ValidationError,
    unknown_key: Callable[[Location], str] | None = None,
    words: Mapping[str, str] | None = None,
) -> Iterator[tuple[Location, str]]:
    """
    Return the key's location and one sentence for each of pydantic's findings.

    *unknown_key* writes the sentence for a key that does not exist, *words* those for values of the wrong type by
    pydantic's name for the finding; both are those of settings when they are left out.
    """
    for details in error.errors(include_url=False):
        location = tuple(part for part in details["loc"] if part != "[key]")
        if details["type"] == "extra_forbidden":
            yield location, (unknown_key or _unknown_key)(location)
        else:
            sentence = None if words is not None else _two_brackets(details, location)
            yield location, sentence or _sentence(details, location, {**_KINDS_OF_VALUE, **(words or {})})


def _two_brackets(details: ErrorDetails, location: Location) -> str | None:
    """Return what to say of a table that stands for a list of them; None: it is something else."""
    if details["type"] in ("list_type", "tuple_type") and isinstance(details["input"], dict):
        header = _header(tuple(part for part in location if isinstance(part, str)))
        if header.startswith("[["):
            return f"write {header}, with two brackets: it is a list of tables"
    return None


def _sentence(details: ErrorDetails, location: Location, words: Mapping[str, str]) -> str:
    kind = details["type"]
    context = details.get("ctx") or {}
    if kind == "missing":
        return "is missing"
    shown = _shown(details["input"], location)
    if kind in _BOUNDS:
        bound, relation = _BOUNDS[kind]
        return f"{shown}{relation} {context[bound]:.12g}"
    if kind == "literal_error":
        return f"{shown}must be one of {str(context['expected']).replace(' or ', ', ')}"
    if kind == "value_error":
        return f"{shown}{context['error']}"
    is_one = kind in ("list_type", "tuple_type", "frozen_set_type") and shown and isinstance(details["input"], str)
    example = f", as in [{quoted(details['input'])}]" if is_one else ""
    return f"{shown}{words.get(kind, details['msg'])}{example}"


def _unknown_key(location: Location) -> str:
    key = str(location[-1])
    table = tuple(str(part) for part in location[:-1] if isinstance(part, str))
    known = keys_in(table)
    elsewhere = sorted(path for path in tables() if path != table and key in keys_in(path))
    hint = did_you_mean(key, known)
    inside = [path for path in elsewhere if table and path[:-1] == table]
    if hint and inside:
        hint += f" (or {' or '.join(_header(path) for path in inside)} for it)"
    if not hint and elsewhere:
        hint = f"; it belongs in {' or '.join(_header(path) for path in elsewhere)}"
    return f"is no setting{hint or '; known here: ' + ', '.join(known)}"


def _header(table: tuple[str, ...]) -> str:
    if not table:
        return "the top of the file"
    name = ".".join(table)
    return f"[[{name}]]" if table[-1] in ("accounts", "variants", "places", "reports") else f"[{name}]"


def _shown(value: Any, location: Location) -> str:
    if SECRET_KEYS.intersection(str(part) for part in location) or isinstance(value, Expanded):
        return ""
    if isinstance(value, bool):
        return f"{str(value).lower()} "
    if isinstance(value, int | float):
        return f"{value} "
    # A URL may carry a password, wherever it stands.
    if isinstance(value, str) and len(value) <= 80 and not ("://" in value and "@" in value):
        return f"{value!r} "
    return ""
