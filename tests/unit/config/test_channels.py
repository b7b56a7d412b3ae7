"""`[[reports]]` by other channels than mail: an address that is a secret, and a name for it that is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crawler.config.display import as_document, as_toml, needs_of
from crawler.config.loader import load
from crawler.config.models import Secret, Settings
from crawler.errors import ConfigurationError

ACCOUNT = '[[accounts]]\nname = "prod"\npublic_key = "pub"\nprivate_key = "priv"\n[[reports]]\nname = "chat"\n'
URL = "https://hooks.example.com:8443/t0ken?key=t0ken"


def read(tmp_path: Path, report: str, **environ: str) -> Settings:
    """Load a file with one report."""
    path = tmp_path / "crawler.toml"
    path.write_text(ACCOUNT + report, encoding="utf-8")
    path.chmod(0o600)
    return load(path, None, {"HOME": str(tmp_path), **environ})


@pytest.mark.parametrize(
    ("channel", "url", "name"),
    [
        ("webhook", URL, "webhook:hooks.example.com"),
        ("feishu", URL, "feishu:hooks.example.com"),
        ("apprise", "slack://t0ken/t0ken/t0ken", "apprise:slack"),
        ("apprise", "Json://user:t0ken@[", "apprise:json"),
    ],
)
def test_the_address_is_secret(tmp_path: Path, channel: str, url: str, name: str) -> None:
    """Only a name of the address is ever shown; neither repr nor `config show` has more; no [smtp] is needed."""
    secret = "" if channel == "apprise" else 'secret = "s3same"\n'
    settings = read(tmp_path, f'channel = "{channel}"\nurl = "{url}"\n{secret}')
    (report,) = settings.reports
    shown = as_document(settings)["reports"][0]

    assert (report.channel, report.to, report.url) == (channel, (name,), Secret(url))
    assert (report.route, settings.smtp, settings.warnings) == (f"{channel} chat", None, ())
    assert "t0ken" not in repr(settings) + as_toml(as_document(settings))
    assert "s3same" not in repr(settings) + as_toml(as_document(settings))
    assert ("to" in shown, set(shown["url"])) == (False, {"*"})


def test_secrets_from_files_and_the_environment(tmp_path: Path) -> None:
    """Both may be in files or in the environment, and a scheduler knows that they have to be brought."""
    (tmp_path / "hook.url").write_text(URL + "\n")
    (tmp_path / "hook.url").chmod(0o600)
    text = 'channel = "webhook"\nurl_file = "hook.url"\nsecret = "${HOOK}"\n'
    (report,) = read(tmp_path, text, HOOK="s3same").reports
    needs = needs_of(tmp_path / "crawler.toml")

    assert (report.url, report.secret) == (Secret(URL), Secret("s3same"))
    assert (needs.credentials, needs.variables) == ((("hook.url", tmp_path / "hook.url"),), ("HOOK",))


@pytest.mark.parametrize(
    ("report", "key", "problem"),
    [
        ("", "to", "is missing"),
        ('to = ["a@b.c"]\nurl = "https://t0ken.example.com"', "url", "mail has `to`"),
        ('to = ["a@b.c"]\nsecret = "t0ken"', "secret", "is for the channels webhook"),
        ('channel = "webhook"\nsecret = "t0ken"', "url", "is missing (or give url_file)"),
        ('channel = "webhook"\nurl = "https://t0ken.example.com"', "secret", "is missing: it signs"),
        ('channel = "webhook"\nurl = "https://t0ken.example.com"\nsecret = "whsec_t0ken"', "secret", "24 to 64 bytes"),
        (
            'channel = "feishu"\nurl = "https://t0ken.example.com"\nold_secret = "t0ken"',
            "old_secret",
            "the channel webhook",
        ),
        ('to = ["a@b.c"]\nformat = "cloudevents"', "format", "is for the channel webhook"),
        ('channel = "feishu"\nurl = "https://t0ken.example.com"\nto = ["a@b.c"]', "to", "feishu has `url`"),
        ('channel = "feishu"\nurl = "ftp://t0ken.example.com"', "url", "must be an http or https URL"),
        ('channel = "feishu"\nurl = "https://[t0ken"', "url", "must be an http or https URL"),
        ('channel = "feishu"\nurl = "t0ken"', "url", "must be"),
        ('channel = "feishu"\nurl = 7', "url", "must be a text"),
        ('channel = "feishu"\nurl_file = "t0ken"', "url_file", "cannot be read"),
        ('channel = "apprise"\nurl = "slack:t0ken"', "url", "must be a URL"),
        ('channel = "apprise"\nurl = "slack://a"\nsecret = "t0ken"', "secret", "an Apprise URL holds its own"),
        ('channel = "fax"\nto = ["a@b.c"]', "channel", "'fax' must be one of 'email', 'webhook', 'feishu', 'apprise'"),
    ],
)
def test_problems(tmp_path: Path, report: str, key: str, problem: str) -> None:
    """What does not fit the channel is named with its key, and without the secret."""
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, report)
    found = [text for text in caught.value.problems if text.startswith(f"reports[0].{key}: ")]

    assert found, caught.value.problems
    assert problem in found[0]
    assert "t0ken" not in str(caught.value).replace(f"{tmp_path}/t0ken", "")


def test_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address in the clear, a file everyone can read, and Apprise missing are warned of."""
    clear = read(tmp_path, 'channel = "webhook"\nurl = "http://hooks.example.com/t0ken"\nsecret = "t0ken"\n').warnings
    path = tmp_path / "crawler.toml"
    path.write_text(ACCOUNT.replace('"priv"', '"${P}"') + f'channel = "feishu"\nurl = "{URL}"\n')
    path.chmod(0o644)
    readable = load(path, None, {"HOME": str(tmp_path), "P": "p"}).warnings
    monkeypatch.setitem(sys.modules, "apprise", None)
    missing = read(tmp_path, 'channel = "apprise"\nurl = "slack://t0ken/t0ken"\n').warnings

    assert "reports go to hooks.example.com over http" in clear[0]
    assert "is readable by everyone" in readable[0]
    assert "pip install 'ucloud-image-crawler[apprise]'" in missing[0]
    assert "t0ken" not in "".join([*clear, *readable, *missing])
