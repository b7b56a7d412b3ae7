"""`crawler init`: a starter configuration that works, from one look at the cloud, without a secret in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from crawler.config.loader import load
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, Timeline, run_in_thread
from tests.support.command import call, keys
from tests.support.proxy import forward_proxy, port_of
from tests.support.worlds import make_timeline


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(
    timeline: Timeline, *words: str, environ: dict[str, str] | None = None, code: int = 0
) -> tuple[str, list[str]]:
    """Call init against a cloud; give what it said, and the actions it asked."""
    with run_in_thread(timeline) as server:
        result = call("init", *words, environ=keys(server.url) | (environ or {}), code=code)
        return result.stderr, [entry.action for entry in server.log]


def written(folder: Path) -> str:
    """Return the file."""
    return (folder / "crawler.toml").read_text(encoding="utf-8")


def test_writes(folder: Path) -> None:
    """The file is complete, names what the cloud listed, holds no key, and only its owner may read it."""
    said, asked = init(make_timeline(zones=["hk-02", "sg-01"], projects=["org-a", "org-b"]))
    text = written(folder)

    assert asked == ["GetRegion", "GetProjectList"]
    assert "lists 2 zones and 2 projects." in said
    assert said.endswith("Wrote crawler.toml.\nNext: crawler run\n")
    assert (folder / "crawler.toml").stat().st_mode & 0o777 == 0o600
    assert [word for word in ("hk-02", "sg-01", "org-a", "org-b") if word not in text] == []
    assert [key for key in (EXAMPLE_PUBLIC_KEY, EXAMPLE_PRIVATE_KEY) if key in text] == []
    (account,) = load(Path("crawler.toml"), None, keys()).accounts
    assert (account.projects, account.regions, account.zones) == (("*",), ("*",), ("*",))
    assert account.endpoint.startswith("http://127.0.0.1:")
    assert account.private_key.reveal() == EXAMPLE_PRIVATE_KEY


def test_overwrites_nothing(folder: Path) -> None:
    """A file that is there already stays as it is, and the cloud is not even asked."""
    (folder / "crawler.toml").write_text("mine")
    said, asked = init(make_timeline(), code=2)

    assert "crawler.toml exists already" in said
    assert (written(folder), asked) == ("mine", [])


def test_other_file(folder: Path) -> None:
    """--file names another file; the way to use it is told."""
    said, _ = init(make_timeline(), "--file", "other.toml")

    assert (folder / "other.toml").exists()
    assert "Next: crawler --config other.toml run" in said
    # where the environment names another, the usual one is not found by itself
    said = call("init", environ={"CRAWLER_CONFIG": "/etc/crawler.toml"}).stderr
    assert said.endswith("; crawler --config crawler.toml run\n")
    assert "does not exist" in init(make_timeline(), "--file", "no/where.toml", code=2)[0]


def test_older_schema(folder: Path) -> None:
    """A brand with the API of 2020 will do."""
    init(make_timeline(schema=2020))

    assert tomllib.loads(written(folder))["accounts"][0]["projects"] == ["*"]


@pytest.mark.parametrize(("environ", "projects"), [({}, ["default"]), ({"UCLOUD_PROJECT_ID": "org-x/Mine"}, ["org-x"])])
def test_projects_refused(folder: Path, environ: dict[str, str], projects: list[str]) -> None:
    """A key that may not list projects gets the configured one, or none."""
    faults = [{"action": "GetProjectList", "ret_code": 299}]
    said, _ = init(make_timeline(faults=faults), environ=environ)

    assert "may not list its projects" in said
    assert tomllib.loads(written(folder))["accounts"][0]["projects"] == projects


def channel() -> Timeline:
    """Return a cloud that wants a channel-key."""
    return make_timeline(
        accounts=[
            {
                "name": "prod",
                "public_key": EXAMPLE_PUBLIC_KEY,
                "private_key": EXAMPLE_PRIVATE_KEY,
                "channel_key": "the-channel",
            }
        ]
    )


def test_channel_key_is_missing(folder: Path) -> None:
    """RetCode 174 says which option to try, exits 5 and writes nothing that would be in the way of the next try."""
    said, asked = init(channel(), code=5)

    assert "RetCode 174" in said
    assert "crawler init --header channel-key=…" in said
    assert asked == ["GetRegion"]
    assert not (folder / "crawler.toml").exists()


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("channel-key=the-channel", "${UCLOUD_CHANNEL_KEY}"),
        ("channel-key=${UCLOUD_CHANNEL_KEY}", "${UCLOUD_CHANNEL_KEY}"),
        ("channel-key=${OTHER:-the-channel}", "${OTHER:-the-channel}"),
    ],
)
def test_channel_key_as_reference(folder: Path, word: str, shown: str) -> None:
    """A header's value that stands in the environment is written as a reference."""
    init(channel(), "--header", word, environ={"UCLOUD_CHANNEL_KEY": "the-channel"})

    assert tomllib.loads(written(folder))["accounts"][0]["headers"] == {"channel-key": shown}


def test_channel_key_as_value(folder: Path) -> None:
    """A value that stands nowhere else is written, into a file that only its owner may read."""
    init(channel(), "--header", "channel-key=the-channel")

    assert tomllib.loads(written(folder))["accounts"][0]["headers"] == {"channel-key": "the-channel"}
    assert load(Path("crawler.toml"), None, keys()).warnings == ()


@pytest.mark.parametrize("word", ["channel-key", "=x", "bad name=x", "x=a\nb"])
def test_bad_header(folder: Path, word: str) -> None:
    """What is no header is refused before anything is asked."""
    _, asked = init(channel(), "--header", word, code=2)

    assert asked == []
    assert not (folder / "crawler.toml").exists()


def test_refused_keys(folder: Path) -> None:
    """Wrong keys are told after one request, and nothing is written."""
    said, asked = init(make_timeline(), code=5, environ={"UCLOUD_PRIVATE_KEY": "wrong-private-key"})

    assert "refused the credentials, so nothing is written" in said
    assert asked == ["GetRegion"]
    assert "wrong-private-key" not in said


def test_unreachable(folder: Path) -> None:
    """A cloud that does not answer is told, and leaves a template to go on with."""
    said = call("init", "--endpoint", "http://127.0.0.1:9/", environ=keys()).stderr

    assert "Warning: GetRegion: " in said
    assert "so the file is a template" in said
    assert load(Path("crawler.toml"), None, keys()).accounts[0].projects == ("*",)


def test_without_keys(folder: Path) -> None:
    """Without keys the file is a template, and the variables to set are named."""
    said = call("init").stderr

    assert "Next: export UCLOUD_PUBLIC_KEY=… UCLOUD_PRIVATE_KEY=…; crawler run" in said
    assert load(Path("crawler.toml"), None, keys()).accounts[0].endpoint == "https://api.ucloud.cn/"


def test_without_one_key(folder: Path) -> None:
    """Where one of the two keys is set, the other alone is named."""
    said = call("init", environ={"UCLOUD_PUBLIC_KEY": "pub"}).stderr

    assert "UCLOUD_PRIVATE_KEY is not set: the cloud is not asked" in said
    assert "Next: export UCLOUD_PRIVATE_KEY=…; crawler run" in said


def test_bad_endpoint(folder: Path) -> None:
    """An endpoint that is none is refused, and nothing is written."""
    said = call("init", "--endpoint", "api.ucloud.cn", environ=keys(), code=2).stderr

    assert "must be an http or https URL" in said
    assert not (folder / "crawler.toml").exists()


def test_profile_of_the_cli(folder: Path) -> None:
    """Where the environment has no keys, those of the UCloud CLI are used, by their profile's name."""
    with run_in_thread(make_timeline()) as server:
        (folder / ".ucloud").mkdir()
        (folder / ".ucloud" / "credential.json").write_text(
            f'[{{"profile": "default", "public_key": "{EXAMPLE_PUBLIC_KEY}", "private_key": "{EXAMPLE_PRIVATE_KEY}"}}]'
        )
        (folder / ".ucloud" / "config.json").write_text(f'[{{"profile": "default", "base_url": "{server.url}"}}]')
        call("init", environ={"HOME": str(folder)})

    assert tomllib.loads(written(folder))["accounts"][0]["profile"] == "default"


def test_hostile_names(folder: Path) -> None:
    """Names from the cloud cannot break out of the comment they stand in."""
    evil = {"project_id": "org-a", "name": 'x\n[smtp]\nhost = "evil"\x1b[2J'}
    init(make_timeline(projects=[evil]))

    assert "smtp" not in tomllib.loads(written(folder))
    assert "\x1b" not in written(folder)


def test_key_file(folder: Path) -> None:
    """--key-file keeps the private key and secret headers in files of mode 0600, so that cron needs no variable."""
    environ = {"UCLOUD_CHANNEL_KEY": "the-channel"}
    with run_in_thread(channel()) as server:
        words = ("init", "--header", "channel-key=the-channel", "--key-file", "private.key")
        said = call(*words, environ=keys(server.url) | environ).stderr
        line = call("schedule", "cron", environ={}).stdout.splitlines()[-1]
        call("run", environ={"HOME": str(folder)})

    assert said.endswith("Wrote private.key.\nWrote channel-key.\nWrote crawler.toml.\nNext: crawler run\n")
    for name, text in (("private.key", EXAMPLE_PRIVATE_KEY), ("channel-key", "the-channel")):
        assert (folder / name).read_text() == f"{text}\n"
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    (account,) = tomllib.loads(written(folder))["accounts"]
    assert (account["private_key_file"], account["headers"]) == ("private.key", {"channel-key_file": "channel-key"})
    assert EXAMPLE_PRIVATE_KEY not in written(folder)
    assert line.startswith("*/15 * * * * ")


def test_key_file_beside_an_existing_configuration(folder: Path) -> None:
    """Where there is a configuration, the lines that name a key file there are told, and nothing is written."""
    init(make_timeline())
    said, _ = init(make_timeline(), "--key-file", "private.key", code=2)

    assert "crawler.toml exists already and is left as it is; --file names another.\n" in said
    assert '\n  private_key_file = "private.key"\n' in said
    assert "\n  (umask 077; printenv UCLOUD_PRIVATE_KEY >private.key)\n" in said
    assert not (folder / "private.key").exists()


@pytest.mark.parametrize("environ", [{}, {"UCLOUD_PRIVATE_KEY": ""}], ids=["has a key", "has none"])
def test_key_that_is_not_to_be_written(folder: Path, environ: dict[str, str]) -> None:
    """Nobody is told to write over a file that is there, or to write a key that the environment has not."""
    init(make_timeline())
    (folder / "other.key").write_text("kept")
    said, _ = init(make_timeline(), "--key-file", "x.key" if environ else "other.key", environ=environ, code=2)

    assert said == "Error: crawler.toml exists already and is left as it is; --file names another.\n"


def test_key_file_elsewhere(folder: Path) -> None:
    """A key file in another folder is named by its whole path; one that exists is not touched, and nothing is asked."""
    (folder / "keys").mkdir()
    init(make_timeline(), "--key-file", "keys/private.key")
    again, asked = init(make_timeline(), "--file", "other.toml", "--key-file", "keys/private.key", code=2)

    assert tomllib.loads(written(folder))["accounts"][0]["private_key_file"] == str(folder / "keys" / "private.key")
    assert "keys/private.key exists already and is left as it is; --key-file names another." in again
    assert (asked, (folder / "other.toml").exists()) == ([], False)


def test_key_file_is_the_configuration(folder: Path) -> None:
    """A key file that is the configuration itself is refused before anything is written or asked."""
    said, asked = init(make_timeline(), "--file", "one.toml", "--key-file", "./one.toml", code=2)

    assert said == ("Error: one.toml cannot hold the configuration and a secret; name another file with --key-file.\n")
    assert (asked, list(folder.iterdir())) == ([], [])


def test_key_file_without_keys(folder: Path) -> None:
    """Without keys in the environment there is nothing to keep."""
    said = call("init", "--key-file", "private.key", code=2).stderr

    assert "--key-file keeps the keys of the environment, and UCLOUD_PUBLIC_KEY and UCLOUD_PRIVATE_KEY are not" in said
    assert list(folder.iterdir()) == []


def test_key_file_of_a_header(folder: Path) -> None:
    """A key file that is called as the file of a header is refused before anything is written or asked."""
    words = ("--header", "channel-key=${CHANNEL}", "--key-file", "channel-key")
    said, asked = init(make_timeline(), *words, environ={"CHANNEL": "the-channel"}, code=2)

    assert said == "Error: channel-key cannot hold two secrets; name another file with --key-file.\n"
    assert (asked, list(folder.iterdir())) == ([], [])


@pytest.mark.parametrize("scheme", ["http://", ""])
@pytest.mark.parametrize("login", ["", "crawler:correct-horse"])
def test_proxy(folder: Path, login: str, scheme: str) -> None:
    """The cloud is asked through the environment's proxy, which the configuration then names, a password in a file."""
    host = "api.example.invalid"
    with (
        run_in_thread(make_timeline(zones=["hk-02"])) as cloud,
        forward_proxy(names={host: port_of(cloud.url)}, login=login) as proxy,
    ):
        environ = keys(f"http://{host}/") | {
            "HTTP_PROXY": scheme + (proxy.url_with_login if login else proxy.url).removeprefix("http://")
        }
        said = call("init", "--key-file", "private.key", environ=environ | {"NO_PROXY": ".intern"}).stderr
        call("run", environ={"HOME": str(folder)})
    network = tomllib.loads(written(folder))["network"]

    assert "lists 1 zone" in said
    assert network == {"no_proxy": [".intern"], **({"proxy_file": "proxy.url"} if login else {"proxy": proxy.url})}
    assert "correct-horse" not in written(folder) + said
    assert len(cloud.log) > 3
