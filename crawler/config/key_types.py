"""
How pydantic checks `crawler.toml`: the types of its keys, and the models, derived from the tables in `models.py`.

Strict, and nothing extra: a key that no table has is a typing mistake. What takes more than one key to see is in
`validation.py`.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from datetime import timedelta
from email.utils import getaddresses
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

import pydantic
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    Strict,
    TypeAdapter,
    create_model,
)
from pydantic_core import CoreSchema, core_schema

from crawler.config.models import AUTO, PUBLIC_TABLES, SECRET_KEYS, Secret, Settings, Table, keys_of
from crawler.config.sources import Expanded
from crawler.config.texts import TEXTS, has_controls, name_of, nonempty
from crawler.domain.filters import NOT, part_fits
from crawler.domain.kinds import KINDS
from crawler.domain.matrix import ALL_VERSIONS, LATEST_BUT_ONE
from crawler.domain.models import DEFAULT_VARIANT, EventWord
from crawler.domain.parsing import NEVER_IGNORED
from crawler.domain.proxies import DIRECT, FROM_ENVIRONMENT, parse_proxy
from crawler.domain.subscriptions import Pin, When, parse_pin, parse_when
from crawler.domain.timefmt import parse_duration
from crawler.domain.values import plain_name

_LARGEST_NUMBER = 1_000_000_000
_VERSION_WORDS = frozenset({LATEST_BUT_ONE, ALL_VERSIONS})
_VERSION = re.compile(r"\d{1,9}(\.[0-9A-Za-z+-]{1,20}){1,4}")
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
    if not is_host(parts.hostname):
        raise ValueError("names a host that cannot be: use an address, or a name whose labels have 1 to 63 characters")
    return parts


def is_host(host: str) -> bool:
    """Return whether *host* is an address, or a name that can be looked up."""
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
    if has_controls(text) or " " in text:
        raise ValueError("must not contain spaces or control characters")
    parts = split_url(text)
    return parts._replace(path=parts.path or "/").geturl()


def _ping(text: str) -> str:
    if has_controls(text) or " " in text or not text.isascii():
        raise ValueError("must be ASCII without spaces or control characters")
    try:
        parts = urlsplit(text)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok or parts.fragment:
        raise ValueError("must be an http or https URL such as https://hc-ping.com/<uuid>")
    return text


def web_address(text: str) -> str:
    """Return the URL of a folder of pages without a slash at its end; raise ValueError saying what is wrong."""
    if has_controls(text) or " " in text:
        raise ValueError("must not contain spaces or control characters")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is no URL") from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError("must be the http or https URL of a folder, such as https://images.example.com")
    return text.rstrip("/")


def _hook(text: str) -> str:
    if has_controls(text) or " " in text:
        raise ValueError("must not contain spaces or control characters")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", text):
        raise ValueError("must be a URL")
    return text


def _proxy(text: str) -> str:
    if text not in (FROM_ENVIRONMENT, DIRECT):
        parse_proxy(text)
    return text


def _header(value: str) -> str:
    if has_controls(value):
        raise ValueError("must not contain control characters")
    if not value.isascii():
        raise ValueError("must be ASCII")
    return value.strip()


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is no header name")
    return name


def _address(text: str) -> str:
    nonempty(text)
    found = getaddresses([text])
    local, at, domain = found[0][1].rpartition("@")
    if len(found) != 1 or not (at and local and domain) or (" " in text.strip() and "<" not in text):
        raise ValueError("must be a mail address")
    if not found[0][1].isascii():
        raise ValueError("must be ASCII but for the name before it (a domain has an xn-- form)")
    return text.strip()


def _listed(value: Any) -> Any:
    """Let one text stand for a list of one."""
    return [value] if isinstance(value, str) else value


def _in_lower_case(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _ignorable(name: str) -> str:
    if plain_name(name) in NEVER_IGNORED:
        raise ValueError("says which image a record is or where, so it cannot be ignored")
    return name


def _some(values: tuple[T, ...]) -> tuple[T, ...]:
    # A `min_length` counts the good values alone, and so calls a list empty whose one value is wrong.
    if not values:
        raise ValueError("is empty")
    return values


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


def expand_kinds(globs: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds that *globs* cover, in the order of the globs."""
    words = tuple(globs)
    wanted = [glob for glob in words if not glob.startswith(NOT)] or ["*"] * bool(words)
    covered = dict.fromkeys(kind for glob in wanted for kind in sorted(KINDS) if fnmatchcase(kind, glob))
    return tuple(kind for kind in covered if part_fits("kind", kind, words))


def parameter_text(value: Any) -> str | None:
    """Return a variant's parameter as the API takes it; None when it is no single value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return None


def _unless_auto(value: Any, read: pydantic.ValidatorFunctionWrapHandler) -> Any:
    """Take "auto" as it is, and anything else as a list of tables."""
    if isinstance(value, str):
        if value == AUTO:
            return value
        raise ValueError('must be "auto", or tables [[accounts.variants]]')
    return read(value)


def _version(word: str) -> str:
    if word not in _VERSION_WORDS and not _VERSION.fullmatch(word):
        raise ValueError(f'is no version: write "{LATEST_BUT_ONE}", "{ALL_VERSIONS}" or some, as in ["1.30"]')
    return word


def _alone(versions: tuple[str, ...]) -> tuple[str, ...]:
    if len(versions) > 1 and not _VERSION_WORDS.isdisjoint(versions):
        raise ValueError(f'"{LATEST_BUT_ONE}" and "{ALL_VERSIONS}" stand alone, not in a list with others')
    return versions


def _by_name(variants: list[VariantTable] | Literal["auto"]) -> dict[str, dict[str, str]] | Literal["auto"]:
    if isinstance(variants, str):
        return variants
    found: dict[str, dict[str, str]] = {DEFAULT_VARIANT: {}}
    for variant in variants:
        extra = sorted((variant.model_extra or {}).items())
        found[variant.name] = {key: parameter_text(value) or "" for key, value in extra}
    return found


@dataclass(frozen=True, slots=True)
class _Written:
    """The type that a value has in the file, and what makes the program's value of it."""

    form: Any
    read: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.read, handler.generate_schema(self.form))


class VariantTable(BaseModel):
    """`[[accounts.variants]]`: a name, and request parameters of the account's kinds."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    name: Name


# --- the types of keys; the tables name them -------------------------------------------------------------------------

T = TypeVar("T")

Text = Annotated[str, AfterValidator(TEXTS["Text"])]
Name = Annotated[str, AfterValidator(name_of)]
Number = Annotated[float, BeforeValidator(_from_environment), AfterValidator(_sensible), pydantic.Field(gt=0)]
Count = Annotated[int, BeforeValidator(_from_environment), pydantic.Field(ge=1, le=_LARGEST_NUMBER)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Address = Annotated[str, AfterValidator(_address)]
Event = Annotated[EventWord, BeforeValidator(_in_lower_case)]
FilePath = Annotated[Path, _Written(Text, Path)]
SecretText = Annotated[Secret, _Written(Text, Secret)]
Ping = Annotated[Secret, _Written(Annotated[str, AfterValidator(_ping)], Secret)]
Hook = Annotated[Secret, _Written(Annotated[str, AfterValidator(_hook)], Secret)]
WebAddress = Annotated[str, AfterValidator(web_address)]
ProxyText = Annotated[str, AfterValidator(_proxy)]
Zone = Annotated[ZoneInfo, _Written(str, TEXTS["Zone"])]
Duration = Annotated[timedelta, _Written(str, TEXTS["Duration"])]
Patience = Annotated[timedelta, _Written(str, parse_duration)]
Schedule = Annotated[When, _Written(str, parse_when)]
#: A list in the file.
Rows = Annotated[tuple[T, ...], Strict(False)]
Distinct = Annotated[Rows[T], AfterValidator(_distinct)]
#: A list, or one alone.
OneOrMore = Annotated[Rows[T], BeforeValidator(_listed, json_schema_input_type=Any)]
Globs = Annotated[Rows[Text], AfterValidator(_some)]
Ignorable = Distinct[Annotated[Text, AfterValidator(_ignorable)]]
Kinds = Annotated[Globs, AfterValidator(expand_kinds)]
Addresses = Annotated[Distinct[Address], AfterValidator(_some)]
Pins = Distinct[Annotated[Pin, _Written(str, parse_pin)]]
Headers = Annotated[
    Mapping[str, str],
    _Written(
        dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header)]],
        lambda headers: {name: value for name, value in headers.items() if value},
    ),
]
Variants = Annotated[
    Mapping[str, Mapping[str, str]] | Literal["auto"],
    _Written(
        Annotated[
            list[VariantTable],
            pydantic.WrapValidator(_unless_auto, json_schema_input_type=list[VariantTable] | Literal["auto"]),
        ],
        _by_name,
    ),
]
Versions = Annotated[
    OneOrMore[Annotated[Text, AfterValidator(_version)]],
    AfterValidator(_some),
    AfterValidator(_distinct),
    AfterValidator(_alone),
]


# --- the tables ------------------------------------------------------------------------------------------------------


def _model_of(table: type[Table]) -> type[BaseModel]:
    hints = get_type_hints(table, localns=globals(), include_extras=True)
    keys: dict[str, Any] = {}
    for key, one in keys_of(table).items():
        default = one.metadata.get("default", ... if one.default is MISSING else one.default)
        if one.default_factory is not MISSING:
            default = one.default_factory()
        info = pydantic.Field(default, alias=key, validate_default="default" in one.metadata)
        keys[one.name] = (hints[one.name], info)
    return create_model(table.__name__, __config__=ConfigDict(strict=True, extra="forbid"), **keys)


def table_schema(table: type[Table], handler: GetCoreSchemaHandler) -> CoreSchema:
    """Return the schema that makes a *table* of a table of the file."""
    inside = handler.generate_schema(_model_of(table))
    return core_schema.no_info_after_validator_function(lambda model: table(**vars(model)), inside)


@cache
def _settings() -> TypeAdapter[Settings]:
    return TypeAdapter(Settings)


def read_settings(document: dict[str, Any]) -> Settings:
    """Return *document* as settings; raise pydantic's ValidationError with everything that one key alone shows."""
    return _settings().validate_python(document)


@cache
def tables() -> dict[tuple[str, ...], type[BaseModel]]:
    """Return the model of every table by the table's path."""
    return dict(_tables(Settings, ()))


def keys_in(path: tuple[str, ...]) -> list[str]:
    """Return the keys that the table at *path* may have, `…_file` variants included."""
    fields = tables()[path].model_fields if path in tables() else {}
    keys = [one.alias or name for name, one in fields.items()]
    if PUBLIC_TABLES.intersection(path):
        return keys
    # Headers have such files one by one.
    return [*keys, *(f"{key}_file" for key in keys if key in SECRET_KEYS - {"headers"})]


def _tables(table: type[Table | BaseModel], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    model = table if issubclass(table, BaseModel) else _model_of(table)
    yield path, model
    for name, one in model.model_fields.items():
        for inner in _tables_in((one.annotation, *one.metadata)):
            yield from _tables(inner, (*path, one.alias or name))


def _tables_in(hints: Iterable[Any]) -> Iterator[type[Table | BaseModel]]:
    for hint in hints:
        if isinstance(hint, type) and issubclass(hint, (Table, BaseModel)):
            yield hint
        else:
            yield from _tables_in((hint.form,) if isinstance(hint, _Written) else get_args(hint))


# --- for editors -----------------------------------------------------------------------------------------------------


def configuration_schema() -> dict[str, Any]:
    """Return the JSON Schema of `crawler.toml`, with the `…_file` variants of keys that may hold a secret."""
    schema = _settings().json_schema()
    for name, table in {"": schema, **schema["$defs"]}.items():
        keys = table["properties"]
        secret = SECRET_KEYS - {"headers"} if name != "PublishSettings" else frozenset()
        found = [key for key in keys if key in secret]
        keys |= {f"{key}_file": {"type": "string"} for key in found}
        table["required"] = [key for key in table.get("required", ()) if key not in found]
    schema = _or_from_environment(schema)
    schema["$defs"]["FromEnvironment"] = {"type": "string", "pattern": _REFERENCE, "description": "${NAME} in a text"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "crawler.toml"}


#: What pydantic calls bounds of types of ours, and JSON Schema's words for them.
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
#: A text with a reference to an environment variable, which may stand for a number or a word.
_REFERENCE = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"


def _or_from_environment(schema: Any) -> Any:
    """Return *schema*, in which a text from the environment may stand wherever a number or one of some words does."""
    if isinstance(schema, list):
        return [_or_from_environment(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {_BOUNDS.get(key, key): _or_from_environment(value) for key, value in schema.items()}
    is_number, words = schema.get("type") in ("number", "integer"), schema.get("enum", schema.get("const"))
    if not is_number and not isinstance(words, list | str):
        return whole
    about = {key: whole.pop(key) for key in ("title", "default") if key in whole}
    return {**about, "anyOf": [whole, {"$ref": "#/$defs/FromEnvironment"}]}
