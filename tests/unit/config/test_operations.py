"""The settings of the dead man's switch and the metrics file, and what a scheduler has to bring."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crawler.config.display import needs_of, origins_of
from crawler.config.loader import load
from crawler.errors import ConfigurationError

KEYS = {"UCLOUD_PUBLIC_KEY": "p", "UCLOUD_PRIVATE_KEY": "k"}


def configured(folder: Path, text: str) -> Path:
    path = folder / "crawler.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_ping_is_a_secret(tmp_path: Path) -> None:
    """The address is taken from a file as well, and no repr shows it."""
    (tmp_path / "ping.url").write_text("https://hc-ping.com/token-1\n")
    (tmp_path / "ping.url").chmod(0o600)
    settings = load(configured(tmp_path, 'ping_file = "ping.url"'), None, KEYS)

    assert settings.ping is not None
    assert settings.ping.reveal() == "https://hc-ping.com/token-1"
    assert "token-1" not in repr(settings)


@pytest.mark.parametrize(
    "ping",
    ["hc-ping.com/token-1", "ftp://x/token-1", "https://", "https://x/ token-1", "https://me:token-1/x@hc/1"],
)
def test_ping_that_is_none(tmp_path: Path, ping: str) -> None:
    """What is no address is refused, without showing it."""
    with pytest.raises(ConfigurationError) as caught:
        load(configured(tmp_path, f'ping = "{ping}"'), None, KEYS)

    assert str(caught.value).count("\n") == 1
    assert "token-1" not in str(caught.value)


def test_textfile(tmp_path: Path) -> None:
    """The metrics file is relative to the configuration; without one there are no metrics."""
    path = configured(tmp_path, '[metrics]\ntextfile = "c/crawler.prom"')

    assert load(path, None, KEYS).metrics.textfile == tmp_path / "c" / "crawler.prom"
    assert load(configured(tmp_path, ""), None, KEYS).metrics.textfile is None


def test_publish(tmp_path: Path) -> None:
    """The published folder is relative to the configuration; without one nothing is published."""
    path = configured(tmp_path, '[publish]\ndir = "public"\nurl = "https://images.example.com/"')
    found = load(path, None, KEYS).publish

    assert found is not None
    assert (found.dir, found.url, found.with_private) == (tmp_path / "public", "https://images.example.com", False)
    assert load(configured(tmp_path, ""), None, KEYS).publish is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('url = "https://x.example"', "publish.dir: is missing"),
        ('dir = ""', "publish.dir: '' is empty"),
        ('dir = "x"\nurl = "images.example.com"', "publish.url: must be the http or https URL of a folder"),
        ('dir = "x"\nurl = "https://u:p@x.example"', "publish.url: must be the http or https URL of a folder"),
        ('dir = "x"\nwith_private = "yes"', "publish.with_private: 'yes' must be true or false"),
    ],
)
def test_publish_wrong(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong with the folder is said."""
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        load(configured(tmp_path, f"[publish]\n{text}"), None, KEYS)


def test_readers_need_no_ping(tmp_path: Path) -> None:
    """Who reads the history needs neither the switch's secret nor the metrics."""
    path = configured(tmp_path, 'ping = "${PING_URL}"')

    assert load(path, None, {}, need_accounts=False).ping is None


def test_needs(tmp_path: Path) -> None:
    """Secret files and variables are found wherever they stand; literals, defaults and public files are none."""
    path = configured(
        tmp_path,
        """
        ping_file = "ping.url"
        [[accounts]]
        name = "a"
        public_key = "${A_KEY}-${B_KEY:-b}-$${C_KEY}"
        private_key_file = "/etc/crawler/private.key"
        headers = { channel-key_file = "channel.key" }
        [smtp]
        ca_file = "ca.pem"
        password_file = "${MAIL_KEY:-mail.key}"
        """,
    )
    needs = needs_of(path)

    assert needs.credentials == tuple((name, tmp_path / name) for name in ("ping.url", "channel.key", "mail.key"))
    assert needs.files == (Path("/etc/crawler/private.key"),)
    assert needs.variables == ("A_KEY",)


def test_origins(tmp_path: Path) -> None:
    """Each value in force says where it comes from, the secrets' files and variables included."""
    path = configured(
        tmp_path,
        """
        timezone = "UTC"
        [[accounts]]
        name = "a"
        public_key = "${UCLOUD_PUBLIC_KEY}"
        private_key_file = "private.key"
        """,
    )
    (tmp_path / "private.key").write_text("k\n")
    (tmp_path / "private.key").chmod(0o600)
    found = origins_of(load(path, None, KEYS))

    assert (found["timezone"], found["stale_after"], found["limits.rate"]) == ("crawler.toml", "default", "default")
    assert found["accounts[0].public_key"] == "crawler.toml, environment"
    assert found["accounts[0].private_key"] == "file private.key"
    assert origins_of(load(path, "x.db", KEYS), database_given=True)["database"] == "--database"


def test_origins_without_a_file(tmp_path: Path) -> None:
    """Without a file the keys come from the environment, and the rest are defaults, but for what it says as well."""
    environ = {**KEYS, "HOME": str(tmp_path)}
    found = origins_of(load(None, None, environ, cwd=tmp_path))
    more = origins_of(load(None, None, {**environ, "UCLOUD_PROJECT_ID": "org-x"}, cwd=tmp_path))

    assert (found["accounts[0].private_key"], found["timezone"]) == ("environment", "default")
    assert (found["accounts[0].endpoint"], found["accounts[0].projects"]) == ("default", "default")
    assert (more["accounts[0].endpoint"], more["accounts[0].projects"]) == ("default", "environment")


def test_origins_of_a_profile(tmp_path: Path) -> None:
    """Of a profile of the UCloud CLI come the keys, and the endpoint and project that the file does not say."""
    folder = tmp_path / ".ucloud"
    folder.mkdir()
    (folder / "credential.json").write_text('[{"profile": "w", "public_key": "p", "private_key": "k"}]')
    more = '{"profile": "w", "base_url": "https://api.example.com/", "project_id": "org-w"}'
    (folder / "config.json").write_text(f"[{more}]")
    path = configured(tmp_path, '[[accounts]]\nname = "a"\nprofile = "w"\nprojects = ["org-x"]\n')
    found = origins_of(load(path, None, {"HOME": str(tmp_path)}))

    keys = ("public_key", "private_key", "endpoint", "projects", "zones")
    assert [found[f"accounts[0].{key}"] for key in keys] == [*["profile w"] * 3, "crawler.toml", "default"]
