"""`crawler schedule` prints files for the installation and configuration at hand."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.conftest import light as light
from tests.support.command import call, keys
from tests.support.driving import Driver, account
from tests.support.tls import make_tls

CLOUD = account("http://127.0.0.1:9/")


def with_files_at(light: Driver, **more: Any) -> Driver:
    """Configure with secrets in files, and an endpoint that is not this machine."""
    return with_files(light, endpoint="https://api.example.com/", **more)


def with_files(light: Driver, endpoint: str = CLOUD["endpoint"], **more: Any) -> Driver:
    """Configure with secrets in files: one under a bare name, one with a path."""
    for name in ("private.key", "public.key"):
        (light.folder / name).write_text("somekey12345\n")
        (light.folder / name).chmod(0o600)
    named = {key: value for key, value in CLOUD.items() if not key.endswith("_key")}
    files = {"private_key_file": "private.key", "public_key_file": "./public.key"}
    return light.configure({**named, **files, "endpoint": endpoint}, **more)


def test_cron_line(light: Driver) -> None:
    """The line's program and configuration exist, under absolute names."""
    line = with_files(light).call("schedule", "cron", "--every", "5").stdout.splitlines()[-1]
    *rhythm, program, option, config, word = shlex.split(line)

    assert rhythm == ["*/5", "*", "*", "*", "*"]
    assert Path(program).is_file()
    assert (option, Path(config), word) == ("--config", light.config, "run")


SOME = {
    "prod": ("crawler-prod", ["--account", "prod"]),
    "te?t*": ("crawler-te-t-", ["--account", "te?t*"]),
    "测试 50%": ("crawler-50-", ["--account", "测试 50%"]),
}


@pytest.mark.parametrize("glob", SOME)
def test_some_accounts(light: Driver, glob: str, tmp_path: Path) -> None:
    """With --account the printed schedule runs those accounts, by its time limit too, in files of their own."""
    name, words = SOME[glob]
    limits = {"run_deadline_seconds": 60}
    others = [{**CLOUD, "name": other, "limits": limits} for other in ("test-1", "测试 50%")]
    light.configure({**CLOUD, "limits": {"run_deadline_seconds": 300}}, *others)
    seconds = (300 if glob == "prod" else 60) + 120 + 120

    line = light.call("schedule", "cron", "--account", glob)
    assert shlex.split(line.stdout.splitlines()[-1].replace(r"\%", "%"))[-3:] == ["run", *words]
    assert f"schedule {shlex.join(['cron', *words])})" in line.stderr
    assert "has one lock for all accounts" in line.stderr
    job = next(yaml.safe_load_all(light.call("schedule", "kubernetes", "--account", glob).stdout))
    assert job["metadata"]["name"].startswith(name)
    assert job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == seconds
    assert job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"][-3:] == ["run", *words]
    said = light.call("schedule", "systemd", "--account", glob, "--write", tmp_path).stderr
    (timer,) = tmp_path.glob("crawler-*.timer")
    assert timer.name.startswith(name)
    assert f"enable --now {timer.name}" in said
    service = timer.with_suffix(".service").read_text()
    (command,) = (line for line in service.splitlines() if line.startswith("ExecStart="))
    assert shlex.split(command.replace("%%", "%"))[-3:] == ["run", *words]
    assert f"TimeoutStartSec={seconds}\n" in service


def test_one_account_of_one(light: Driver) -> None:
    """Where there is one account alone nobody is in its way, and nothing is said of the lock."""
    assert "lock" not in light.configure(CLOUD).call("schedule", "cron", "--account", "prod").stderr


def test_no_such_account(light: Driver) -> None:
    """An account that the configuration lacks is refused with those that it has, instead of a schedule of nothing."""
    for command in ("cron", "systemd", "kubernetes"):
        result = light.configure(CLOUD).call("schedule", command, "--account", "prd", code=2)
        assert result.stdout == ""
        assert "No account matches prd; the configuration has prod." in result.stderr


def test_the_command_that_adds_the_line(light: Driver, tmp_path: Path) -> None:
    """The command that adds the line prints the same one: with the options, and no path goes up again."""
    (tmp_path / "sub").mkdir()
    database = tmp_path / "sub" / ".." / "y.db"
    said = light.configure(CLOUD).call("--database", database, "schedule", "cron", "--every", "30")
    added = f"crawler --config {light.config} --database {database} schedule cron --every 30"

    assert f"(crontab -l; {added}) | crontab -" in said.stderr
    in_chinese = light.call("--language", "zh", "--database", database, "schedule", "cron", "--every", "30").stderr
    assert f"或执行 (crontab -l; {added}) | crontab -" in in_chinese
    assert f"--database {tmp_path.resolve()}/y.db run" in said.stdout
    assert ".." not in said.stdout


def test_the_lines_that_keep_a_key(light: Driver) -> None:
    """Where a configuration takes the private key from the environment, the lines that name a file are told."""
    light.configure({**CLOUD, "private_key": "${UCLOUD_PRIVATE_KEY}"})
    said = light.call("schedule", "cron", UCLOUD_PRIVATE_KEY="secretvalue", code=2).stderr

    assert 'private_key_file = "private.key"' in said
    assert f"(umask 077; printenv UCLOUD_PRIVATE_KEY >{light.config.with_name('private.key')})" in said


def test_keys_of_the_environment(tmp_path: Path) -> None:
    """Keys that only the environment has get no crontab, which cron's mails would show; the way out is told."""
    refused = call("--database", tmp_path / "crawler.db", "schedule", "cron", environ=keys(), code=2)
    service = call("--database", tmp_path / "crawler.db", "schedule", "systemd", environ=keys())

    assert refused.stdout == ""
    assert "No crontab is printed: UCLOUD_PUBLIC_KEY, UCLOUD_PRIVATE_KEY would have to stand in it" in refused.stderr
    assert "`crawler init --key-file private.key` writes the key into a file of its own" in refused.stderr
    assert f" --database {tmp_path / 'crawler.db'} run\n" in service.stdout
    assert "EnvironmentFile=/etc/crawler/environment\n" in service.stdout
    assert "systemd does not know this shell's UCLOUD_PUBLIC_KEY, UCLOUD_PRIVATE_KEY" in service.stderr


@pytest.mark.parametrize(
    "more",
    [
        {"private_key": "${MY_KEY}"},
        {"headers": {"channel-key": "${MY_KEY}"}},
        {"proxy": "http://me:${MY_KEY}@proxy.example.com:3128"},
    ],
    ids=["key", "header", "proxy"],
)
def test_secret_references(light: Driver, more: dict[str, Any]) -> None:
    """A secret that the configuration takes from the environment gets no crontab either; one with a default is none."""
    light.configure({**CLOUD, "public_key": "${MY_PUBLIC:-abc}", **more})
    result = light.call("schedule", "cron", MY_KEY="secretvalue", code=2)

    assert result.stdout == ""
    assert "MY_KEY would have to stand in it" in result.stderr
    assert f"put each into a file of mode 0600 that {light.config} names" in result.stderr
    assert "MY_PUBLIC" not in result.stderr
    assert "secretvalue" not in result.output


def test_other_references(light: Driver) -> None:
    """Other variables are named beside the line, and what to do; stderr says how to add it to a crontab."""
    light.configure({**CLOUD, "zones": ["${MY_ZONE}"]})
    result = light.call("schedule", "cron", MY_ZONE="hk-*")

    assert "#   MY_ZONE\n" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("*/15 * * * * ")
    assert "Add it with crontab -e" in result.stderr


def test_defaults_of_variables(light: Driver) -> None:
    """What this shell says instead of a default of the configuration is told of: under a scheduler that counts."""
    light.configure({**CLOUD, "zones": ["${MY_ZONE:-*}"]})
    other = light.call("schedule", "systemd", MY_ZONE="hk-*")
    same = light.call("schedule", "systemd", MY_ZONE="*")

    told = f"systemd does not know this shell's MY_ZONE: there the defaults count that {light.config} has instead."
    assert told in other.stderr
    assert other.stdout == same.stdout
    assert "MY_ZONE" not in same.output


def test_credentials(light: Driver) -> None:
    """A secret file under a bare name becomes a credential; one with a path is left to the program."""
    text = with_files(light).call("schedule", "systemd").stdout

    assert f"LoadCredential=private.key:{light.folder / 'private.key'}\n" in text
    assert "public.key" not in text


def test_systemd_lets_a_run_publish(light: Driver) -> None:
    """The service may write the published folder, or where it is to be made; never everything."""
    with_files(light, publish={"dir": "public/images"})
    before = light.call("schedule", "systemd").stdout
    (light.folder / "public/images").mkdir(parents=True)
    after = light.call("schedule", "systemd").stdout
    with_files(light, publish={"dir": "/nowhere"})
    root = light.call("schedule", "systemd").stdout

    assert f"ReadWritePaths={light.folder}\n" in before
    assert f"ReadWritePaths={light.folder}/public/images\n" in after
    assert "ReadWritePaths=/nowhere\n" in root


def test_systemd_lets_a_run_lock_what_a_link_leads_to(light: Driver, tmp_path: Path) -> None:
    """Where the database is a link to a file elsewhere the service may write there, too: its lock is made beside it."""
    elsewhere = tmp_path / "my $disk"
    elsewhere.mkdir()
    (light.folder / "linked.db").symlink_to(elsewhere / "history.db")
    light.database = "sqlite:///linked.db"
    with_files(light)
    text = light.call("schedule", "systemd").stdout

    assert f"ReadWritePaths={light.folder}\n" in text
    assert f'ReadWritePaths="{elsewhere}"\n' in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze (package systemd) is missing")
def test_systemd_accepts_the_units(light: Driver, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say about the service and the timer as they are written."""
    folder = tmp_path / "units"
    folder.mkdir()
    with_files(light).call("schedule", "systemd", "--write", folder)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", folder / "crawler.service", folder / "crawler.timer"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    ours = [line for line in done.stderr.splitlines() if "crawler" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


def test_manifest(light: Driver) -> None:
    """The CronJob has the time limit of the configuration, and finds the secrets where the program looks."""
    text = with_files(light, limits={"run_deadline_seconds": 300}).call("schedule", "kubernetes").stdout
    job = next(yaml.safe_load_all(text))["spec"]["jobTemplate"]["spec"]
    container = job["template"]["spec"]["containers"][0]

    assert job["activeDeadlineSeconds"] == 300 + 120 + 120
    assert container["env"] == [{"name": "CREDENTIALS_DIRECTORY", "value": "/run/secrets/crawler"}]
    assert container["command"][-3:] == ["--database", "/var/lib/crawler/crawler.db", "run"]


@pytest.mark.parametrize("command", ["cron", "systemd", "kubernetes"])
def test_database_of_the_command_line(light: Driver, command: str) -> None:
    """A database given on the command line is the one that every printed file names, beside the configuration."""
    light.configure(CLOUD)
    url = "postgresql://crawler@db.example.com/history"

    assert "other.db" in light.call("--database", light.folder / "other.db", "schedule", command).stdout
    printed = light.call("--database", url, "schedule", command).stdout
    assert "--database" in printed
    assert url in printed
    assert "--database" not in light.call("schedule", command).stdout or command == "kubernetes"


def test_password_of_the_command_line(light: Driver) -> None:
    """A database address with a password is refused: the files hold no secret."""
    light.configure(CLOUD)
    result = light.call("--database", "postgresql://crawler:hunter2@db/history", "schedule", "cron", code=2)

    assert "`database_file`" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("command", ["cron", "systemd", "kubernetes"])
@pytest.mark.parametrize("login", ["", "me:hunter2@"])
def test_proxy_of_the_shell(light: Driver, command: str, login: str) -> None:
    """A proxy that only this shell's variables name is told with what to add; a password is never printed."""
    proxy = f"http://{login}proxy.example.com:3128"
    result = with_files_at(light).call("schedule", command, HTTPS_PROXY=proxy, NO_PROXY="localhost,.intern")
    added = 'proxy_file = "proxy.url"' if login else 'proxy = "http://proxy.example.com:3128"'

    assert f"[network]\n{added}" in result.stderr
    assert 'no_proxy = ["localhost", ".intern"]' in result.stderr
    assert "hunter2" not in result.output
    assert "proxy.example" not in result.stdout


def test_proxy_of_the_configuration(light: Driver) -> None:
    """A proxy in the configuration goes along with it, so nothing is to be added."""
    driver = with_files_at(light, network={"proxy": "http://proxy.example.com:3128"})

    said = driver.call("schedule", "cron", HTTPS_PROXY="http://other.example.com:1").stderr

    assert "proxy.example" not in said


def test_files_of_the_manifest(light: Driver) -> None:
    """The ConfigMap has the configuration and the pins beside it, as they are; the policy has the ports it names."""
    pins = "# ours\nhk-02 uimage-abc123\n"
    (light.folder / "pins.txt").write_text(pins)
    smtp = {"host": "mail.example.com", "port": 2525, "from": "crawler@example.com"}
    reports = [{"name": "sre", "to": ["sre@example.com"], "pins_file": "pins.txt"}]
    text = with_files_at(light, smtp=smtp, reports=reports).call("schedule", "kubernetes", "--image", "r/c:1").stdout
    objects = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text)}

    assert objects["ConfigMap"]["data"] == {"crawler.toml": light.config.read_text(), "pins.txt": pins}
    ports = {port["port"] for port in objects["NetworkPolicy"]["spec"]["egress"][0]["ports"]}
    assert ports == {53, 443, 2525}
    assert text.count('image: "r/c:1"') == 2


def test_files_that_variables_name(light: Driver) -> None:
    """A file that a variable names is that of its default, as in a pod or a unit; where there is none it is told of."""
    pins = "hk-02 uimage-abc123\n"
    (light.folder / "pins.txt").write_text(pins)
    smtp = {"host": "mail.example.com", "from": "crawler@example.com"}
    report = {"name": "sre", "to": ["sre@example.com"], "pins_file": "${PINS:-pins.txt}"}
    with_files_at(light, smtp=smtp, reports=[report])
    light.config.write_text(light.config.read_text().replace('"private.key"', '"${KEY:-private.key}"'))
    objects = {one["kind"]: one for one in yaml.safe_load_all(light.call("schedule", "kubernetes").stdout)}
    unit = light.call("schedule", "systemd").stdout
    light.config.write_text(light.config.read_text().replace("${PINS:-pins.txt}", "${PINS}"))
    other = light.call("schedule", "kubernetes", PINS=str(light.folder / "pins.txt"))

    assert objects["ConfigMap"]["data"]["pins.txt"] == pins
    assert f"LoadCredential=private.key:{light.folder / 'private.key'}\n" in unit
    assert f"{light.folder}/${{PINS}} is not in what is printed" in other.stderr
    assert pins not in other.stdout


def test_files_as_other_editors_write_them(light: Driver) -> None:
    """A configuration in UTF-16 goes into the ConfigMap as its text; a file that is no text is named."""
    with_files_at(light)
    text = light.config.read_text()
    light.config.write_text(text, encoding="utf-16")
    objects = {one["kind"]: one for one in yaml.safe_load_all(light.call("schedule", "kubernetes").stdout)}
    _, certificate = make_tls(light.folder)
    (light.folder / "ca.pem").write_bytes("# Behörde\n".encode("latin-1") + certificate.read_bytes())
    with_files_at(light, network={"ca_file": "ca.pem"})
    said = light.call("schedule", "kubernetes", code=2).stderr

    assert objects["ConfigMap"]["data"] == {"crawler.toml": text}
    assert f"{light.folder}/ca.pem is not UTF-8 text (at byte 5); save it as UTF-8." in said


def test_configuration_of_the_kustomize_base(tmp_path: Path) -> None:
    """The base's configuration is valid where the secrets are what the base's secret holds."""
    for name in ("private.key", "smtp.password"):
        (tmp_path / name).write_text("somekey12345\n")
        (tmp_path / name).chmod(0o600)
    config = Path(__file__).parents[3] / "config" / "kubernetes" / "config.toml"

    call("--config", config, "config", "validate", environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_secret_configuration(light: Driver) -> None:
    """A configuration that holds a key is not printed: it is to become a secret; files elsewhere are named."""
    (light.folder / "more").mkdir()
    (light.folder / "more" / "pins.txt").write_text("hk-02 uimage-abc123\n")
    smtp = {"host": "mail.example.com", "from": "crawler@example.com"}
    light.configure(CLOUD, smtp=smtp, reports=[{"name": "sre", "to": ["a@example.com"], "pins_file": "more/pins.txt"}])
    result = light.call("schedule", "kubernetes")

    assert CLOUD["private_key"] not in result.output
    assert "kubectl create secret generic crawler-config --from-file=crawler.toml=" in result.stdout
    assert "secret: {secretName: crawler-config, defaultMode: 288}" in result.stdout  # 0440: or each run would warn
    assert "kind: ConfigMap" not in result.stdout
    assert "more/pins.txt is not in what is printed" in result.stderr


@pytest.mark.parametrize(
    ("more", "ports"),
    [
        ({"reports": [{"name": "me", "channel": "apprise", "url": "tgram://1234:abc_SECRET/5678"}]}, {443}),
        ({"database": "postgresql://me:a[SECRET@db/history"}, {5432}),
        ({"database": "postgresql://me:SECRET@db:6432/history"}, {6432}),
        ({"database": "postgresql://me:SECRET@/history?host=db&port=6433"}, {6433}),
        ({"database": "postgresql://me:SECRET@/history?host=one:6433&host=two"}, {5432, 6433}),
    ],
    ids=["Apprise", "bracket", "port", "option", "hosts"],
)
def test_ports_of_addresses_that_hold_a_secret(light: Driver, more: dict[str, Any], ports: set[int]) -> None:
    """Whatever a secret in an address looks like, the manifests have the ports that are called, and not the secret."""
    result = light.configure(CLOUD, **more).call("schedule", "kubernetes")
    (policy,) = [one for one in yaml.safe_load_all(result.stdout) if one["kind"] == "NetworkPolicy"]

    assert {port["port"] for port in policy["spec"]["egress"][0]["ports"]} == {9, 53, *ports}
    assert "SECRET" not in result.output


def test_key_in_another_folder(light: Driver) -> None:
    """A key file that is named with a folder is in no secret of the manifests, which is said."""
    (light.folder / "keys").mkdir()
    (light.folder / "keys" / "private.key").write_text("somekey12345\n")
    cloud = {key: value for key, value in CLOUD.items() if key != "private_key"}
    light.configure({**cloud, "private_key_file": "keys/private.key"})

    assert f"{light.folder}/keys/private.key is not in what is printed" in light.call("schedule", "kubernetes").stderr
    assert "not in what is printed" not in light.call("schedule", "systemd").stderr


def test_what_pods_lack(light: Driver) -> None:
    """What runs need in a pod besides is told: folders that they read or write, and keys in somebody's home."""
    (light.folder / ".ucloud").mkdir()
    credentials = [{"profile": "work", "public_key": "somekey12345", "private_key": "otherkey12345"}]
    (light.folder / ".ucloud" / "credential.json").write_text(json.dumps(credentials))
    cloud = {key: value for key, value in CLOUD.items() if not key.endswith("_key")}
    more: dict[str, Any] = {
        "publish": {"dir": "out"},
        "metrics": {"textfile": "/var/lib/crawler/crawler.prom"},
        "smtp": {"host": "mail.example.com", "from": "crawler@example.com"},
        "reports": [{"name": "sre", "to": ["sre@example.com"], "pins_from": ["live", "infra"]}],
    }
    light.configure({**cloud, "profile": "work"}, **more)
    said = light.call("schedule", "kubernetes", HOME=str(light.folder)).stderr

    for name in ("infra", "out"):
        assert f"{light.folder}/{name} is not in what is printed: mount a volume for it, and name" in said
    assert said.count("is not in what is printed") == 2
    assert "no pod has the UCloud CLI's profile work: name its keys in the configuration instead" in said
    assert "otherkey12345" not in said


def test_address_of_the_published_pages(light: Driver) -> None:
    """Where the pages are served is no secret, though it is a URL from the environment."""
    light.configure(CLOUD, publish={"dir": "out", "url": "${PAGES}"})

    assert "#   PAGES\n" in light.call("schedule", "cron", PAGES="https://images.example.com").stdout


def test_user_without_a_name(light: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the user is a number, and has no name."""

    def nobody() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nobody)

    assert f"User={os.getuid()}\n" in with_files(light).call("schedule", "systemd").stdout
