"""`[network]`, `proxy` and `ca_file`: who is reached how, from which setting, and what `config show` tells of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crawler.config.display import as_document, origins_of
from crawler.config.loader import load
from crawler.config.models import Settings
from crawler.errors import ConfigurationError
from tests.support.tls import make_tls

KEYS = {"UCLOUD_PUBLIC_KEY": "p", "UCLOUD_PRIVATE_KEY": "k"}
ACCOUNT = '[[accounts]]\nname = "a"\npublic_key = "p"\nprivate_key_file = "private.key"\n'
HOOK = '[[reports]]\nname = "r"\nchannel = "webhook"\nurl = "https://hooks.example.com/1"\nsecret = "long-secret"\n'
PROXY = "http://me:hunter2-long@proxy.example.com:3128"


def loaded(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "private.key").write_text("k\n")
    (folder / "private.key").chmod(0o600)
    path = folder / "crawler.toml"
    path.write_text(text)
    path.chmod(0o600)
    return load(path, None, {**KEYS, "HOME": str(folder), **environ})


def test_environment_by_default(tmp_path: Path) -> None:
    """Account, hook and ping go by the environment's variables, also where there is no file at all."""
    settings = loaded(tmp_path, f'ping = "http://ping.example.com/1"\n{ACCOUNT}{HOOK}', HTTPS_PROXY=PROXY)
    bare = load(None, None, {**KEYS, "HTTPS_PROXY": PROXY, "HOME": str(tmp_path)}, cwd=tmp_path / "none")

    for proxy in (settings.accounts[0].proxy, settings.reports[0].proxy, bare.accounts[0].proxy):
        assert str(proxy) == "http://proxy.example.com:3128 ($HTTPS_PROXY)"
    assert settings.ping_proxy is None
    assert origins_of(settings)["accounts[0].proxy"] == "environment (HTTPS_PROXY)"


def test_network_is_the_default_of_all(tmp_path: Path) -> None:
    """What [network] says holds for all but who says otherwise; its exceptions are reached directly."""
    text = f'ping = "https://ping.intern/1"\n[network]\nproxy = "{PROXY}"\nno_proxy = [".intern"]\n{ACCOUNT}{HOOK}'
    settings = loaded(tmp_path, text + 'proxy = "none"\n', HTTPS_PROXY="http://other.example.com:1")

    assert settings.accounts[0].proxy is not None
    assert (str(settings.accounts[0].proxy), settings.accounts[0].proxy.password) == (
        "http://proxy.example.com:3128",
        "hunter2-long",
    )
    assert (settings.reports[0].proxy, settings.ping_proxy) == (None, None)
    origins = origins_of(settings)
    assert (origins["accounts[0].proxy"], origins["reports[0].proxy"]) == ("[network]", "crawler.toml")


def test_password_in_a_file(tmp_path: Path) -> None:
    """`proxy_file` names a file with the address, and one that everyone may read is warned of."""
    (tmp_path / "proxy.url").write_text(f"{PROXY}\n")
    (tmp_path / "proxy.url").chmod(0o644)
    settings = loaded(tmp_path, f'[network]\nproxy_file = "proxy.url"\n{ACCOUNT}')

    assert settings.accounts[0].proxy is not None
    assert "readable by everyone" in settings.warnings[0]


@pytest.mark.parametrize(("proxy", "is_warned"), [(PROXY, True), ("http://proxy.example.com:3128", False)])
def test_open_configuration(tmp_path: Path, proxy: str, is_warned: bool) -> None:
    """A proxy's password in a configuration that everyone may read is warned of; a proxy without one is no secret."""
    loaded(tmp_path, f'{ACCOUNT}proxy = "{proxy}"\n')
    (tmp_path / "crawler.toml").chmod(0o644)
    settings = load(tmp_path / "crawler.toml", None, KEYS)

    assert bool(settings.warnings) == is_warned


def test_shown_without_the_password(tmp_path: Path) -> None:
    """`config show` masks the password, and no repr of the settings has it."""
    settings = loaded(tmp_path, f'ping = "https://ping.example.com/1"\n[network]\nproxy = "{PROXY}"\n{ACCOUNT}{HOOK}')
    document = as_document(settings)

    assert document["accounts"][0]["proxy"] == "http://me:********@proxy.example.com:3128"
    assert document["network"]["proxy"] == document["reports"][0]["proxy"] == document["accounts"][0]["proxy"]
    assert "hunter2" not in json.dumps(document) + repr(settings)


def test_certificates(tmp_path: Path) -> None:
    """[network] names the certificates for all, for mail as well; an account may name others."""
    _, certificate = make_tls(tmp_path)
    for name in ("all.pem", "own.pem"):
        (tmp_path / name).write_bytes(certificate.read_bytes())
    smtp = '[smtp]\nhost = "mail.example.com"\nfrom = "a@example.com"\n'
    settings = loaded(tmp_path, f'[network]\nca_file = "all.pem"\n{smtp}{ACCOUNT}ca_file = "own.pem"\n{HOOK}')

    assert settings.smtp is not None
    assert settings.accounts[0].ca_file == tmp_path / "own.pem"
    assert {settings.smtp.ca_file, settings.reports[0].ca_file, settings.ping_ca_file} == {tmp_path / "all.pem"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'{ACCOUNT}proxy = "proxy.example.com"\n', "accounts[0].proxy: must be http://host:port"),
        (f'{ACCOUNT}proxy = "socks5://me:hunter2@p"\n', "accounts[0].proxy: names a proxy that is spoken to over"),
        (f'{ACCOUNT}ca_file = "none.pem"\n', "accounts[0].ca_file: "),
        (f'{ACCOUNT}ca_file = "private.key"\n', "holds no certificate in PEM form"),
        (f"[network]\nno_proxi = []\n{ACCOUNT}", "did you mean no_proxy"),
        (ACCOUNT, "accounts[0]: takes the proxy from the environment, whose HTTPS_PROXY names a proxy that is"),
    ],
)
def test_problems(tmp_path: Path, text: str, words: str) -> None:
    """Each mistake is one sentence with its key, and no password."""
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, text, HTTPS_PROXY="socks5h://me:hunter2@proxy.example.com")
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)
