"""Where settings come from: the search order, references, secret files, the UCloud CLI's files."""

from __future__ import annotations

import json
import pwd
from pathlib import Path
from typing import Any, NoReturn

import pytest

from crawler.config.loader import find, load
from crawler.config.sources import Findings, candidates, expand_all, expand_text
from crawler.errors import ConfigurationError

KEYS = {"UCLOUD_PUBLIC_KEY": "public-of-test", "UCLOUD_PRIVATE_KEY": "private-of-test"}


def expand(text: str, **environ: str) -> tuple[str, list[str]]:
    """Return the expanded text and the complaints."""
    complaints: list[str] = []
    return expand_text(text, environ, complaints.append), complaints


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "1"),
        ("x${A}y${B}", "x1y2"),
        ("${NONE:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY}", ""),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b}", "a:-b"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $ pa$$word", "$A $ pa$$word"),
        ("${A}$${A}", "1${A}"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    """References become values, defaults stand in for what is unset or empty, and $${ is literal."""
    assert expand(text, A="1", B="2", EMPTY="") == (expected, [])


def test_expansion_is_not_repeated() -> None:
    """A value that looks like a reference is not expanded again."""
    assert expand("${A}", A="${B}", B="2") == ("${B}", [])


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A-x}", "${N:-"])
def test_broken_references(text: str) -> None:
    """What begins like a reference and is none is a problem that says how to write it."""
    _, (complaint,) = expand(text, A="1")

    assert "a literal ${ is written $${" in complaint


@pytest.mark.parametrize("text", ["${A:-${B}}", "${NONE:-x${B:-y}z}", "${NONE:-$${B}}"])
def test_reference_in_a_default(text: str) -> None:
    """A default that holds a reference is refused, also where it is not used: it never stays as literal text."""
    _, (complaint,) = expand(text, A="1", B="2")

    assert "holds another reference; write plain text there" in complaint


def test_search_order(tmp_path: Path) -> None:
    """--config, $CRAWLER_CONFIG, ./crawler.toml and the user's folder are looked at in this order."""
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    places = [tmp_path / "named.toml", tmp_path / "variable.toml", cwd / "crawler.toml"]
    places.append(home / ".config" / "crawler" / "crawler.toml")
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")
    environ = {"HOME": str(home), "CRAWLER_CONFIG": str(places[1])}

    assert find(places[0], environ, cwd) == places[0]
    assert find(None, environ, cwd) == places[1]
    assert find(None, {"HOME": str(home)}, cwd) == places[2]
    places[2].unlink()
    assert find(None, {"HOME": str(home)}, cwd) == places[3]
    assert find(None, {"HOME": str(tmp_path)}, cwd) is None


def test_folders_of_the_user() -> None:
    """The user's folder is XDG's where it is set, the system's own on a Mac, ~/.config elsewhere."""
    cwd, home = Path("/cwd"), {"HOME": "/h"}

    assert candidates(home, cwd, "linux")[1:] == [Path("/h/.config/crawler/crawler.toml")]
    assert candidates(home, cwd, "darwin")[1] == Path("/h/Library/Application Support/crawler/crawler.toml")
    assert candidates({**home, "XDG_CONFIG_HOME": "/x"}, cwd, "darwin")[1:] == [Path("/x/crawler/crawler.toml")]


@pytest.mark.parametrize(("config", "environ"), [(Path("gone.toml"), {}), (None, {"CRAWLER_CONFIG": "gone.toml"})])
def test_named_file_is_missing(tmp_path: Path, config: Path | None, environ: dict[str, str]) -> None:
    """A file that was named and is not there is an error, never silently another."""
    (tmp_path / "crawler.toml").write_text("")

    with pytest.raises(
        ConfigurationError, match=r"gone\.toml: 1 problem\n  there is no such file.*; `crawler init --file "
    ):
        load(config, None, {**KEYS, **environ}, cwd=tmp_path)


def test_example_is_not_picked_up(tmp_path: Path) -> None:
    """The shipped example in ./config is never read by itself."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "crawler.example.toml").write_text("nonsense = 1")

    assert find(None, {"HOME": str(tmp_path)}, tmp_path) is None


def secret_of(path: Path, environ: dict[str, str]) -> str:
    """Return the private key that the configuration in *path* comes to."""
    return load(path, None, {"HOME": str(path.parent), **environ}).accounts[0].private_key.reveal()


def configuration(tmp_path: Path, line: str) -> Path:
    """Write a configuration with one account and *line*."""
    path = tmp_path / "etc" / "crawler.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'[[accounts]]\nname = "a"\npublic_key = "p"\n{line}\n')
    return path


def test_secret_files(tmp_path: Path) -> None:
    """A secret's file is relative to the configuration; a bare name is looked for in systemd's folder first."""
    path = configuration(tmp_path, 'private_key_file = "k"')
    (path.parent / "k").write_text("beside\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()

    assert secret_of(path, {}) == "beside"
    assert secret_of(path, {"CREDENTIALS_DIRECTORY": str(credentials)}) == "beside"
    (credentials / "k").write_text("from-systemd")
    assert secret_of(path, {"CREDENTIALS_DIRECTORY": str(credentials)}) == "from-systemd"

    path = configuration(tmp_path, 'private_key_file = "./k"')
    assert secret_of(path, {"CREDENTIALS_DIRECTORY": str(credentials)}) == "beside"
    path = configuration(tmp_path, 'private_key_file = "${CREDENTIALS_DIRECTORY}/k"')
    assert secret_of(path, {"CREDENTIALS_DIRECTORY": str(credentials)}) == "from-systemd"
    (tmp_path / "etc" / "home").write_text("at-home")
    path = configuration(tmp_path, 'private_key_file = "~/home"')
    assert secret_of(path, {}) == "at-home"


@pytest.mark.parametrize("body", [b"", b"\n", b"two\nlines", b"\xff\xfe"])
def test_useless_secret_file(tmp_path: Path, body: bytes) -> None:
    """A file that does not hold one line of text is one problem, not a missing key as well."""
    path = configuration(tmp_path, 'private_key_file = "k"')
    (path.parent / "k").write_bytes(body)

    with pytest.raises(ConfigurationError, match="does not hold one line of text") as caught:
        load(path, None, {})
    assert len(caught.value.problems) == 1


def test_header_file(tmp_path: Path) -> None:
    """A header's value may be kept in a file as well."""
    path = configuration(tmp_path, 'private_key = "k"\nheaders = { channel-key_file = "h" }')
    (path.parent / "h").write_text("channel\n")

    assert load(path, None, {}).accounts[0].headers == {"channel-key": "channel"}


def profile_files(home: Path, credentials: object, config: object) -> None:
    """Write the UCloud CLI's files."""
    (home / ".ucloud").mkdir(exist_ok=True)
    (home / ".ucloud" / "credential.json").write_text(json.dumps(credentials))
    (home / ".ucloud" / "config.json").write_text(json.dumps(config))


def test_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of whom the system knows but a number, as in a container, has no folder of that sort, and no error."""

    def unknown(number: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME")
    path = tmp_path / "crawler.toml"
    assert find(None, {}, tmp_path) is None
    assert load(None, None, KEYS, cwd=tmp_path).accounts[0].name == "default"
    path.write_text('[[accounts]]\nname = "a"\nprofile = "work"\n')
    with pytest.raises(ConfigurationError, match="keeps them in the home folder, and this user has none"):
        load(None, None, {}, cwd=tmp_path)
    path.write_text('[[accounts]]\nname = "a"\npublic_key = "p"\nprivate_key_file = "~/private.key"\n')
    with pytest.raises(ConfigurationError, match=r"~/private\.key cannot be read: No such file"):
        load(None, None, {}, cwd=tmp_path)


def test_profile(tmp_path: Path) -> None:
    """A profile of the UCloud CLI gives the keys, the endpoint and the project; what the file says wins."""
    profile_files(
        tmp_path,
        [
            {"profile": "default", "public_key": "p1", "private_key": "k1"},
            {"profile": "work", "public_key": "p2", "private_key": "k2", "cookie": ""},
        ],
        [{"profile": "work", "base_url": "https://api.example.com/", "project_id": "org-w/Work", "timeout_sec": 15}],
    )
    path = tmp_path / "crawler.toml"
    path.write_text('[[accounts]]\nname = "a"\nprofile = "work"\n')
    (account,) = load(path, None, {"HOME": str(tmp_path)}).accounts
    assert (account.public_key, account.private_key.reveal()) == ("p2", "k2")
    assert (account.endpoint, account.projects) == ("https://api.example.com/", ("org-w",))

    path.write_text('[[accounts]]\nname = "a"\nprofile = "work"\nendpoint = "https://x/"\nprojects = ["*"]\n')
    (account,) = load(path, None, {"HOME": str(tmp_path)}).accounts
    assert (account.endpoint, account.projects) == ("https://x/", ("*",))


def test_profile_of_an_old_cli(tmp_path: Path) -> None:
    """The single object of older versions of the CLI is the profile `default`."""
    (tmp_path / ".ucloud").mkdir()
    (tmp_path / ".ucloud" / "config.json").write_text('{"public_key": "p", "private_key": "k", "region": "hk"}')
    path = tmp_path / "crawler.toml"
    path.write_text('[[accounts]]\nname = "a"\nprofile = "default"\n')

    assert load(path, None, {"HOME": str(tmp_path)}).accounts[0].private_key.reveal() == "k"


def test_unusable_profile(tmp_path: Path) -> None:
    """A profile that is not there, or lacks keys, is one problem, which names what is; a broken file says so."""
    path = tmp_path / "crawler.toml"
    path.write_text('[[accounts]]\nname = "a"\nprofile = "wrok"\n')
    profile_files(tmp_path, [{"profile": "work", "public_key": "p", "private_key": "k"}], [])
    with pytest.raises(ConfigurationError, match=r"no keys for a profile 'wrok'.*it knows work") as caught:
        load(path, None, {"HOME": str(tmp_path)})
    assert len(caught.value.problems) == 1

    profile_files(tmp_path, [{"profile": "wrok", "public_key": "p"}], [])
    with pytest.raises(ConfigurationError, match=r"profile 'wrok' in .*\.ucloud has no private_key$"):
        load(path, None, {"HOME": str(tmp_path)})

    (tmp_path / ".ucloud" / "credential.json").write_text("{oops")
    with pytest.raises(ConfigurationError, match=r"credential\.json is not JSON"):
        load(path, None, {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("document", "advice"),
    [
        ({"private_key": "${NOT_SET}"}, "export it, or use private_key_file"),
        ({"headers": {"channel-key": "${NOT_SET}"}}, "export it, or use channel-key_file"),
        ({"zones": ["${NOT_SET}"]}, "export it, or give a default: ${NOT_SET:-…}"),
        ({"public_key": "${NOT_SET}"}, "export it, or give a default: ${NOT_SET:-…}"),
    ],
)
def test_variable_that_is_not_set(document: dict[str, Any], advice: str) -> None:
    """Nobody is told to write a secret into the configuration; of anything else a default is fine."""
    findings = Findings()
    expand_all({"accounts": [document]}, {}, findings)
    assert [text for _, text in findings.problems] == [f"the environment variable NOT_SET is not set: {advice}"]


def test_variable_of_a_public_table_that_is_not_set() -> None:
    """What is a secret elsewhere is none where nothing is, and no file is told that would not be read."""
    findings = Findings()
    expand_all({"publish": {"url": "${NOT_SET}"}}, {}, findings)
    ((_, text),) = findings.problems
    assert text.endswith("export it, or give a default: ${NOT_SET:-…}")
