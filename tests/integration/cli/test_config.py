"""`crawler config`: validate names every problem, show masks every secret."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.support.command import call, keys

TEXT = """
database = "postgresql://u:dbsecret@db.example.com/history"
[[accounts]]
name = "prod"
public_key = "pubsecret"
private_key = "keysecret"
headers = { channel-key = "headersecret" }
[accounts.limits]
rate = 5
[[accounts.variants]]
name = "g"
GPUType = "V100"
[smtp]
host = "mail.example.com"
username = "crawler"
password = "mailsecret"
from = "crawler@example.com"
[[reports]]
name = "sre"
to = ["sre@example.com"]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "crawler.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


def test_validate(path: Path) -> None:
    """A good file is said to be fine."""
    assert call("--config", path, "config", "validate").stdout == (
        f"{path} is fine: 1 account (prod), database postgresql://u:***@db.example.com/history\n"
    )


def test_problems(path: Path) -> None:
    """A bad file exits 2 with every problem on a line of its own, on stderr."""
    path.write_text(TEXT.replace('host = "mail', 'hots = "mail') + "[limits]\nrate = 0\n")
    result = call("--config", path, "config", "validate", code=2)

    assert result.stdout == ""
    assert result.stderr.splitlines()[0] == f"Error: {path}: 3 problems"
    assert sorted(line.strip().split(":")[0] for line in result.stderr.splitlines()[1:]) == [
        "limits.rate",
        "smtp.host",
        "smtp.hots",
    ]


@pytest.mark.parametrize("command", [("config", "validate"), ("config", "show"), ("config", "show", "-o", "json")])
def test_secrets(path: Path, command: tuple[str, ...]) -> None:
    """No output holds a secret."""
    result = call("--config", path, "-vv", *command)

    assert [secret for secret in ("db", "pub", "key", "header", "mail") if f"{secret}secret" in result.output] == []


def test_show(path: Path) -> None:
    """What is shown is TOML, the same as its JSON, with defaults filled in."""
    document = tomllib.loads(call("--config", path, "config", "show").stdout)

    assert document == json.loads(call("--config", path, "config", "show", "-o", "json").stdout)
    assert document["stale_after"] == "26h"
    assert document["limits"]["run_deadline_seconds"] == 600
    assert document["accounts"][0]["limits"] == {"rate": 5}
    assert document["accounts"][0]["variants"] == [{"name": "g", "GPUType": "V100"}]
    assert document["accounts"][0]["private_key"] == "********"


def test_tolerate(path: Path) -> None:
    """What is tolerated is shown; a check that there is none of is named with those that there are."""
    path.write_text(TEXT.replace('name = "prod"', 'name = "prod"\ntolerate = ["count", "action"]'))
    document = tomllib.loads(call("--config", path, "config", "show").stdout)
    assert document["accounts"][0]["tolerate"] == ["count", "action"]

    path.write_text(TEXT.replace('name = "prod"', 'name = "prod"\ntolerate = ["counts"]'))
    said = call("--config", path, "config", "validate", code=2).stderr
    assert "accounts[0].tolerate" in said
    assert "count" in said


def test_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the environment is what is checked."""
    monkeypatch.chdir(tmp_path)

    assert call("config", "validate", environ=keys()).stdout.startswith("the environment is fine: 1 account (default)")
    assert "there is no account" in call("config", "validate", code=2).stderr
