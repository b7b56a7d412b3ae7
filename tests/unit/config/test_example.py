"""`config/crawler.example.toml` is complete and true."""

from __future__ import annotations

import re
import tomllib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from crawler.config.key_types import configuration_schema, keys_in, tables
from crawler.config.loader import load
from crawler.errors import ConfigurationError
from tests.support.examples import blocks
from tests.support.house import ROOT
from tests.support.schema_file import SCHEMA, schema_bytes
from tests.support.tls import make_tls

EXAMPLE = ROOT / "config" / "crawler.example.toml"
KEYS = {"UCLOUD_PUBLIC_KEY": "p", "UCLOUD_PRIVATE_KEY": "k"}
#: Settings that have no default, or whose value in the example only shows the form.
NO_DEFAULT = {
    ("accounts", "name"), ("accounts", "public_key"), ("accounts", "private_key"), ("accounts", "profile"),
    ("accounts.variants", "name"), ("accounts.places", "region"), ("accounts.places", "zone"),
    ("accounts.places", "project"), ("smtp", "host"), ("smtp", "username"), ("smtp", "password"), ("smtp", "from"),
    ("smtp", "ca_file"), ("network", "ca_file"), ("accounts", "ca_file"), ("accounts", "proxy"), ("reports", "proxy"),
    ("reports", "ca_file"), ("", "ping"), ("metrics", "textfile"),
    ("limits", "budget"), ("accounts.limits", "budget"),
    ("publish", "dir"), ("publish", "url"),
    ("reports", "name"), ("reports", "to"), ("reports", "url"), ("reports", "secret"), ("reports", "old_secret"),
    ("reports", "timezone"), ("reports", "pins"), ("reports", "pins_file"), ("reports", "pins_from"),
    ("reports.filters", "gpu"),
}  # fmt: skip
SETTING = re.compile(r"^(?:\[\[?(?P<table>[\w.]+)\]\]?|(?P<key>[\w-]+) = (?P<value>.+))$")


def named() -> dict[str, dict[str, Any]]:
    """Return every setting that the example names, commented out or not, by table."""
    found: dict[str, dict[str, Any]] = {"": {}}
    table = ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        match = SETTING.match(line.removeprefix("#"))
        if match is None:
            continue
        if match["table"]:
            table = match["table"]
            found.setdefault(table, {})
        else:
            found[table][match["key"]] = tomllib.loads(f"value = {match['value']}")["value"]
    return found


def test_loads() -> None:
    """The example is a valid configuration once the keys are in the environment, and it warns of nothing."""
    settings = load(EXAMPLE, None, KEYS)

    assert [account.name for account in settings.accounts] == ["prod"]
    assert settings.warnings == ()


def test_loads_with_everything_on(tmp_path: Path) -> None:
    """What is commented out is valid as well, but for the alternatives to keys."""
    text = re.sub(r"^#(?=[\w-]+ = |\[)", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = re.sub(r"^(\w+_file|profile|url|secret|old_secret|proxy|budget) = .*$", "", text, flags=re.MULTILINE)
    path = tmp_path / "crawler.toml"
    path.write_text(text, encoding="utf-8")
    settings = load(path, None, {**KEYS, "SMTP_PASSWORD": "s"})

    assert settings.accounts[0].places[0].zone == "hk-02"
    assert settings.accounts[0].named_variants["g-v100"] == {"GPUType": "V100", "MachineType": "G"}
    assert (settings.reports[0].name, len(settings.reports[0].subscription.pins)) == ("sre", 2)


@pytest.mark.parametrize("table", tables(), ids=lambda table: ".".join(table) or "top")
def test_names_every_setting(table: tuple[str, ...]) -> None:
    """Every setting of the schema is named in its table, and no other."""
    keys = set(named()[".".join(table)])
    children = {path[len(table)] for path in tables() if path[: len(table)] == table and len(path) == len(table) + 1}
    extra = {"MachineType", "GPUType"} if table == ("accounts", "variants") else set()

    assert keys == (set(keys_in(table)) - children) | extra


@pytest.mark.parametrize("table", tables(), ids=lambda table: ".".join(table) or "top")
def test_defaults_agree(table: tuple[str, ...]) -> None:
    """Every default in the example is the program's."""
    name = ".".join(table)
    found = {field.alias or key: field.default for key, field in tables()[table].model_fields.items()}
    defaults = {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
    shown = {key: value for key, value in named()[name].items() if (name, key) not in NO_DEFAULT and key in defaults}

    assert shown == {key: defaults[key] for key in shown}
    assert {key for key in shown if defaults[key] is None} == set()


def test_says_what_every_setting_is_for() -> None:
    """Prose stands beside every setting: in its paragraph, or in the one before its table's."""
    before, silent = "", []
    for paragraph in EXAMPLE.read_text(encoding="utf-8").split("\n\n"):
        is_said = re.search(r"^# ", paragraph + (before if paragraph.startswith("[") else ""), re.MULTILINE)
        if not is_said:
            silent += [line for line in paragraph.splitlines() if SETTING.match(line.removeprefix("#"))]
        before = f"\n{paragraph}"

    assert silent == []


@pytest.mark.parametrize("block", [block for block in blocks("toml") if "[[require]]" not in block])
def test_tables_of_the_pages(block: str, tmp_path: Path) -> None:
    """Every TOML example of the pages is a valid configuration as it stands, once the files that it names are there."""
    files = {"private.key": "k", "feishu.url": "https://hooks.example.com/1", "feishu.secret": "s"}
    if "[network]" in block:
        files["company-ca.pem"] = make_tls(tmp_path)[1].read_text()
        files["proxy.url"] = "http://me:password@proxy.example.com:3128"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    path = tmp_path / "crawler.toml"
    path.write_text(block.replace("/etc/crawler/", ""), encoding="utf-8")
    settings = load(path, None, {**KEYS, "HOME": str(tmp_path)})

    assert settings.source == path
    assert settings.warnings == ()


@pytest.mark.parametrize("text", [EXAMPLE.read_text(encoding="utf-8"), *blocks("toml")])
def test_schema(text: str) -> None:
    """The example, and every one of the pages that is a configuration, is valid by the published JSON Schema."""
    document = tomllib.loads(text)
    if "require" not in document:
        jsonschema.validate(document, configuration_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "no_such_key": 1}, configuration_schema())


def test_schema_beside_the_example() -> None:
    """Editors get the schema beside the example; `python -m tests.support.schema_file` makes it anew."""
    first = EXAMPLE.read_text(encoding="utf-8").splitlines()[0]

    assert first == f"#:schema ./{SCHEMA.name}"
    assert SCHEMA.read_bytes() == schema_bytes()


@pytest.mark.parametrize(
    ("line", "is_valid"),
    [
        ('limits.rate = "${RATE}"', True),
        ('limits.concurrency = "1${ZEROS:-00}"', True),
        ('smtp = {host = "h", from = "a@b.example", port = "${PORT:-25}", security = "${SECURITY}"}', True),
        ('timezone = "${ZONE}"', True),
        ('limits.rate = "ten"', False),
        ('limits.rate = "$RATE"', False),
        ("limits.rate = 0", False),
        ('publish = {dir = "public", with_private = "${PRIVATE}"}', False),
    ],
)
def test_schema_and_the_environment(line: str, is_valid: bool, tmp_path: Path) -> None:
    """The schema takes `${NAME}` for a number or a word, as the program does, and no other text for one."""
    account = '[[accounts]]\nname = "a"\npublic_key = "${K}"\nprivate_key = "${K}"\n'
    given = {"RATE": "7", "PORT": "26", "SECURITY": "none", "ZONE": "UTC", "K": "k", "PRIVATE": "true"}
    text = f"{line}\n{account}"
    path = tmp_path / "crawler.toml"
    path.write_text(text, encoding="utf-8")

    with nullcontext() if is_valid else pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), configuration_schema())
    with nullcontext() if is_valid else pytest.raises(ConfigurationError):
        load(path, None, {**given, "HOME": str(tmp_path)})
