"""What of an answer is never kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crawler.domain.kinds import KINDS
from crawler.domain.secrets import is_secret, without_secrets

NAMED = ("Password", "UserData", "InitScript", "EtcdKey", "EtcdCert")


def cleaned(document: Any, named: tuple[str, ...] = NAMED) -> Any:
    return json.loads(without_secrets(json.dumps(document).encode(), named))


@pytest.mark.parametrize(
    "name",
    ["Password", "PASSWORD", "pass_word", "RootPassword", "client-secret", "SecurityToken", "KeyPair", "userData",
     "User-Data", "InitScript", "init_script", "EtcdCert", "CaCertificate", "privateKey"],
)  # fmt: skip
def test_dropped(name: str) -> None:
    """A member whose name says what it holds is dropped at any depth, whatever its case, and nothing beside it."""
    document = {"RetCode": 0, "Set": [{"Id": "a", name: "planted", "Inner": {name: ["planted"], "Cpu": 8}}]}

    assert cleaned(document) == {"RetCode": 0, "Set": [{"Id": "a", "Inner": {"Cpu": 8}}]}
    assert cleaned(document, ()) == cleaned(document)


def test_named_alone() -> None:
    """What a kind names is dropped although its name says nothing."""
    assert cleaned({"Set": [{"Motd": "planted", "Id": "a"}]}, ("motd",)) == {"Set": [{"Id": "a"}]}
    assert cleaned({"Set": [{"Motd": "kept"}]}, ()) == {"Set": [{"Motd": "kept"}]}


def test_pairs_and_texts() -> None:
    """A pair that names a secret is dropped whole, and a text that is JSON and holds one; other records never are."""
    document = {
        "Labels": [{"Key": "db-password", "Value": "planted"}, {"Name": "zone", "Value": "b"}],
        "Set": [{"Name": "key-servers", "Id": "a", "Cpu": 1}, {"Name": "token-pool", "Id": "b"}],
        "Config": '{"Password": "planted"}',
        "Plain": '{"Cpu": 1}',
        "Listed": ' [{"Password": "planted"}]',
        "Env": [
            {"Type": "plain", "Name": "DB_PASSWORD", "Value": "planted"},
            {"Key": "ca-cert", "Content": "planted", "Mode": 400},
            {"Name": "ZONE", "Value": "b", "Type": "plain"},
        ],
    }

    assert cleaned(document) == {
        "Labels": [{"Name": "zone", "Value": "b"}],
        "Set": [{"Name": "key-servers", "Id": "a", "Cpu": 1}, {"Name": "token-pool", "Id": "b"}],
        "Plain": '{"Cpu": 1}',
        "Env": [{"Type": "plain"}, {"Mode": 400}, {"Name": "ZONE", "Value": "b", "Type": "plain"}],
    }


def test_unchanged() -> None:
    """An answer without secrets stays as it came, byte for byte; names in escapes are read before it is judged."""
    body = '{ "RetCode":0, "Set": [ {"Id": "a", "Name": "键"} ] }'.encode()
    escaped = rb'{"Set": [{"P\u0061ssword": "planted"}]}'

    assert without_secrets(body, NAMED) is body
    assert without_secrets(body) is body
    assert without_secrets(escaped) == b'{"Set":[{}]}'


@pytest.mark.parametrize("body", [b'{"RetCode": 0, "Set": [{"Password": "planted', b"", b'["planted"]'])
def test_no_json(body: bytes) -> None:
    """Of an answer that is no JSON object nobody can tell what it holds: its length alone is kept, where it matters."""
    assert b"planted" not in without_secrets(body, NAMED)
    assert without_secrets(body) == body


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", b"(0 bytes, not shown: they may hold a secret)"),
        (b"x", b"(1 byte, not shown: it may hold a secret)"),
        (b'["planted"]', b"(11 bytes, not shown: they may hold a secret)"),
    ],
)
def test_length_of_what_is_not_shown(body: bytes, told: bytes) -> None:
    """What stands instead of such an answer says how long it was, and why it is not there."""
    assert without_secrets(body, NAMED) == told


@pytest.mark.parametrize(
    ("name", "named", "secret"),
    [
        ("Zone", (), False),
        ("pass-word", (), True),
        ("x_ssh.Key", (), True),
        ("Motd", (), False),
        ("m-o.t_d", ("MOTD",), True),
        ("Motds", ("Motd",), False),
    ],
)
def test_names_of_secrets(name: str, named: tuple[str, ...], secret: bool) -> None:
    """A name is compared without its case and separators: whole with what is named, in part with what tells."""
    assert is_secret(name, named) is secret


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"Name": "token"}, {"Name": "token"}),
        ({"Value": "x"}, {"Value": "x"}),
        ({"Field": "token", "Values": ["x"]}, None),
        ({"N-a-m-e": "token", "CONTENT": "x", "Id": 1}, {"Id": 1}),
        ({"Name": ["token"], "Value": "x"}, {"Name": ["token"], "Value": "x"}),
        ({"Token": "x"}, {}),
        ({}, {}),
        ('{"Token": 1}', None),
        (' [{"Token": 1}]', None),
        ("{Token", "{Token"),
        ('"Token"', '"Token"'),
        ('{ "Zone": 1}', '{ "Zone": 1}'),
    ],
)
def test_values_beside_others(value: object, kept: object) -> None:
    """A pair about a secret goes, and all of a record that is nothing else; half of a pair is none."""
    assert cleaned({"Set": [value, {"Token": "x", "Id": 2}]}) == {"Set": [*([] if kept is None else [kept]), {"Id": 2}]}


def test_kinds() -> None:
    """No kind declares as a field, a set or an id what would be dropped."""
    for kind in KINDS.values():
        if kind.secrets is not None:
            names = [*kind.sets, *kind.items, *kind.id_keys, *(key for spec in kind.fields for key in spec.keys)]
            assert [name for name in names if is_secret(name, kind.secrets)] == []
