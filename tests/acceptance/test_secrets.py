"""A key pair planted as canaries is in no output, log, database or other file, whatever goes wrong."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from sqlalchemy import select

from crawler.db.engine import opened, read
from crawler.db.schema import Base, Payload
from crawler.emulator import EmulatorServer, run_in_thread
from tests.acceptance.test_failures import FAULTS
from tests.support.acceptance_table import Proven
from tests.support.driving import Driver, account, as_toml
from tests.support.echoes import FORMS, traces
from tests.support.hooks import Call, Reply, hook_server
from tests.support.kinds import PLANTED, cluster, kinds_timeline
from tests.support.smtp import Mail, mail_server
from tests.support.switch import dead_man_switch
from tests.support.tls import make_tls
from tests.support.worlds import make_timeline

PRIVATE = "canaryprivate8c1f2e7d4b"
CHANNEL = "canarychannel55d0a9"
PASSWORD = "canarypassword77e1"
MAIL_PASSWORD = "canarymail9e41c7"
TOKEN = "canarytoken-40c8"
HOOK = "canaryhook-0b6d"
HOOK_SECRET = "canarysign-77aa"
CANARIES = (PRIVATE, CHANNEL, PASSWORD, MAIL_PASSWORD, TOKEN, HOOK, HOOK_SECRET)
PUBLIC = "canarypublic3b9a"

CREDENTIAL_CODES = (170, 171, 172, 174, 294, 295)
ECHO = {"ret_code": 8010, "message": "you sent {'PublicKey': '…'} and this is a very long sentence " * 20}


@contextmanager
def cloud_with_every_fault() -> Iterator[EmulatorServer]:
    """Serve a cloud that knows the canaries: fine at first, then every fault, then every way of refusing the key."""
    zones = {zone: {f"uimage-{zone}": "Ubuntu 20.04"} for zone in (*FAULTS, "z-echo", "z-ok")}
    faults: list[dict[str, Any]] = [{"zone": zone, **fault} for zone, (fault, *_) in FAULTS.items()]
    steps: list[dict[str, Any]] = [{"faults": [*faults, {"zone": "z-echo", **ECHO}]}]
    steps += [{"faults": [{"ret_code": code}]} for code in CREDENTIAL_CODES]
    steps += [{"faults": [{"ret_code": code, "action": "Describe*"}]} for code in CREDENTIAL_CODES]
    steps += [{"faults": [{effect: True, "action": "GetRegion"}]} for effect in ("drop", "html", "cut", "empty")]
    known = {"name": "canary", "public_key": PUBLIC, "private_key": PRIVATE, "channel_key": CHANNEL}
    with run_in_thread(make_timeline(zones=zones, accounts=[known], steps=steps)) as server:
        yield server


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    with cloud_with_every_fault() as server:
        yield server


def canary_account(url: str, **more: Any) -> dict[str, Any]:
    return account(url, public_key=PUBLIC, private_key=PRIVATE, headers={"channel-key": CHANNEL}, **more)


def stored(database: str) -> Iterator[bytes]:
    """Return everything a database holds: every cell as text, and every kept answer as it came."""
    with opened(database, read_only=True) as engine, read(engine) as conn:
        for table in Base.metadata.sorted_tables:
            for row in conn.execute(select(table)):
                yield repr(tuple(row)).encode()
        for body in conn.execute(select(Payload.body)).scalars():
            yield zlib.decompress(body)


def files(folder: Path, *, but: str) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name != but:
            yield path.read_bytes()


def hits(texts: Iterator[bytes] | list[bytes]) -> tuple[int, list[str]]:
    """Return how many bytes were looked at, and which canaries were in them."""
    size, found = 0, []
    for text in texts:
        size += len(text)
        found += [canary for canary in CANARIES if canary.encode() in text]
    return size, found


def test_runs(driver: Driver, cloud: EmulatorServer, proven: Proven) -> None:
    """After a run per fault, at the highest verbosity: no canary in stdout, stderr, logs or the database."""
    driver.configure(canary_account(cloud.url), limits={"attempts": 1, "timeout_seconds": 0.5})
    said: list[bytes] = []
    codes = []
    for step in range(1, len(cloud.timeline.worlds) + 1):
        cloud.step = step
        ran = driver.run("-vv", code=None)
        codes.append(ran.code)
        said += [ran.result.stdout_bytes, ran.result.stderr_bytes]
    for words in (("status",), ("runs",), ("runs", "show", "2"), ("config", "show"), ("config", "validate")):
        result = driver.call(*words, "-vv", code=None)
        said += [result.stdout_bytes, result.stderr_bytes]
    talked, in_talk = hits(said)
    kept, in_database = hits(stored(driver.database))
    on_disk, in_files = hits(files(driver.folder, but=driver.config.name))
    proven(
        "a canary private key is in no output, log or database after runs with every fault",
        f"{len(codes)} runs, exit codes {sorted(set(codes))}; {talked} bytes said, {kept} stored, {on_disk} on disk: "
        f"{len(in_talk + in_database + in_files)} hits",
    )

    assert {0, 3, 5} <= set(codes)
    assert (in_talk, in_database, in_files) == ([], [], [])
    assert min(talked, kept) > 10_000


def test_operations(light: Driver, cloud: EmulatorServer, tmp_path: Path, proven: Proven) -> None:
    """Nor is any in mails, metrics, pings, records, schedules or the doctor's findings, with every fault in between."""
    context, certificate = make_tls(tmp_path)
    textfile = light.folder / "crawler.prom"
    report = {"name": "me", "to": ["me@example.com"], "filters": {"zone": ["*"]}, "pins": ["z-ok uimage-z-ok"]}
    said: list[bytes] = []
    codes = set()
    with mail_server(starttls=context, login=("crawler", MAIL_PASSWORD)) as mails, dead_man_switch() as switch:
        url = switch.url.replace("token-1", TOKEN)
        smtp = {"host": "127.0.0.1", "port": mails.port, "from": "crawler@example.com", "username": "crawler"}
        smtp |= {"password": MAIL_PASSWORD, "ca_file": str(certificate), "timeout_seconds": 5}
        for step in range(1, len(cloud.timeline.worlds) + 1):
            cloud.step = step
            mails.behave = _refusing if step % 3 == 0 else lambda stage, value: None
            switch.status = 500 if step % 2 else 200
            limits = {"attempts": 1, "timeout_seconds": 0.5}
            more = {"smtp": smtp, "reports": [report], "ping": url, "metrics": {"textfile": str(textfile)}}
            light.configure(canary_account(cloud.url), limits=limits, **more)
            for words in (("-vv", "--log-format", "json", "run", "--json"), ("-vv", "doctor")):
                result = light.call(*words, code=None)
                codes.add(result.exit_code)
                said += [result.stdout_bytes, result.stderr_bytes]
            light.now += timedelta(hours=1)
        asked: tuple[tuple[str, ...], ...] = (
            ("schedule", "cron"),
            ("schedule", "systemd"),
            ("schedule", "kubernetes"),
            ("config", "show"),
            ("config", "show", "-o", "json"),
            ("report", "list", "--all"),
            ("doctor", "--json", "--test-mail", "me@example.com"),
        )
        for question in asked:
            result = light.call(*question, "-vv", code=None)
            said += [result.stdout_bytes, result.stderr_bytes]
    letters = [mail.content for mail in mails.seen]
    bodies = [body.encode() for _, body in switch.calls]
    on_disk, in_files = hits(files(light.folder, but=light.config.name))
    sizes, found = zip(*(hits(texts) for texts in (said, letters, bodies, stored(light.database))), strict=True)
    proven(
        "canaries of keys, headers, mail password and ping token are in no byte written around runs with every fault",
        f"exit codes {sorted(codes)}; {sum(sizes) + on_disk} bytes said, mailed, pinged, stored: "
        f"{sum(map(len, found)) + len(in_files)} hits",
    )

    assert (list(found), in_files) == ([[], [], [], []], [])
    assert letters
    assert textfile.exists()
    assert min(sizes) > 1_000
    assert 70 not in codes


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # a plugin of Apprise imports it
def test_channels(light: Driver, cloud: EmulatorServer) -> None:
    """Nor is the address or the secret of a webhook, robot or chat in any of it, whatever the other side answers."""
    echo = f"no {HOOK}-51c2 and {HOOK_SECRET}"
    answers = [
        Reply(),
        Reply(status=500, body=echo),
        Reply(status=403, body=echo),
        Reply(body=f'{{"code": 19024, "msg": "{echo}"}}'),
        Reply(drop=True),
        Reply(body='{"code": 0}'),
    ]
    said: list[bytes] = []
    with hook_server() as hooks:
        url = hooks.url.replace("secret-path", HOOK)
        reports: list[dict[str, Any]] = [
            {"name": "hook", "channel": "webhook", "url": url, "secret": HOOK_SECRET},
            {"name": "chat", "channel": "feishu", "url": url, "secret": HOOK_SECRET},
            {"name": "any", "channel": "apprise", "url": url.replace("http:", "json:")},
            {"name": "nowhere", "channel": "apprise", "url": f"nosuch://{HOOK}"},
        ]
        light.configure(canary_account(cloud.url), limits={"attempts": 1, "timeout_seconds": 0.5}, reports=reports)
        for answer in answers:
            hooks.answer = _always(answer)
            for words in (("-vv", "run", "--json"), ("-vvv", "report", "retry"), ("report", "list", "--all")):
                result = light.call(*words, code=None)
                said += [result.stdout_bytes, result.stderr_bytes]
            light.now += timedelta(hours=1)
        asked: tuple[tuple[str, ...], ...] = (("config", "show"), ("doctor",), ("schedule", "systemd"))
        for question in asked:
            result = light.call(*question, "-vv", code=None)
            said += [result.stdout_bytes, result.stderr_bytes]
    found = [hits(texts)[1] for texts in (said, stored(light.database), files(light.folder, but=light.config.name))]

    assert found == [[], [], []]
    assert len(hooks.calls) > len(reports)
    assert all(HOOK in call.path for call in hooks.calls)


def test_repeated_requests(light: Driver) -> None:
    """Nor is a key or a signature that the cloud repeats, in any form, in anything said, mailed, posted or kept."""
    public, private = "ucloudsomeone@example.com1296235120854146120", "46f09bb9fab4f12dfc160dae12273d5332b5debe"
    cloud = _Repeating(sorted(FORMS))
    said: list[bytes] = []
    with hook_server() as api, hook_server() as hooks, mail_server() as mails:
        api.answer = cloud.answer
        reports: list[dict[str, Any]] = [
            {"name": "mail", "to": ["a@example.com"], "patience": "0m"},
            {"name": "hook", "channel": "webhook", "url": hooks.url, "secret": HOOK_SECRET, "patience": "0m"},
        ]
        smtp = {"host": "127.0.0.1", "port": mails.port, "from": "c@example.com", "security": "none"}
        keys = {"public_key": public, "private_key": private}
        light.configure({"name": "prod", "endpoint": api.url, **keys}, smtp=smtp, reports=reports)
        codes = []
        for cloud.step in range(5):
            for words in (("-vv", "run", "--json"), ("-vv", "run"), ("doctor", "--json")):
                result = light.call(*words, code=None)
                codes.append(result.exit_code)
                said += [result.stdout_bytes, result.stderr_bytes]
                light.now += timedelta(hours=1)
        asked: list[tuple[str, ...]] = [("status",), ("images",), ("changes",), ("runs", "show", "7"), ("history", "*")]
        asked += [("explain", row["id"]) for row in light.rows("changes")]
        for question in asked:
            result = light.call(*question, "-o", "json", code=None)
            said += [result.stdout_bytes, result.stderr_bytes]
    texts = {
        "said": said,
        "mailed": [body for mail in mails.seen for body in _parts(mail)],
        "posted": [call.body for call in hooks.calls],
        "kept": list(stored(light.database)),
        "files": list(files(light.folder, but=light.config.name)),
    }
    sought = [trace.encode() for trace in traces([public, private, *cloud.signatures])]

    for name, found in texts.items():
        assert [trace for trace in sought if any(trace in text for text in found)] == [], name
        assert name == "files" or any(b"[redacted]" in text for text in found), name
    assert {0, 4} <= set(codes)
    assert 70 not in codes
    assert len(cloud.signatures) > len(FORMS)


@pytest.mark.parametrize("source", ["profile", "credentials directory", "database URL file"])
def test_places_of_secrets(tmp_path: Path, source: str, sqlite_url: str, postgres_url: str) -> None:
    """Nor is one from the UCloud CLI's profile, systemd's credentials or a database URL's file, echoed as it may be."""
    home, work = tmp_path / "home", tmp_path / "work"
    (home / ".ucloud").mkdir(parents=True)
    work.mkdir()
    planted = {"channel-key": CHANNEL, "private_key": PRIVATE}
    user = Driver(work, sqlite_url)
    keys: dict[str, Any] = {"public_key": PUBLIC, "private_key_file": "private_key"}
    if source == "profile":
        profile = {"profile": "canary", "public_key": PUBLIC, "private_key": planted.pop("private_key")}
        planted[".ucloud/credential.json"] = json.dumps([profile])
        keys = {"profile": "canary"}
    elif source == "database URL file":
        user.database = planted["database"] = postgres_url.replace("://postgres:@", f"://postgres:{PASSWORD}@")
    for name, text in planted.items():
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    said: list[bytes] = []
    codes = set()
    with hook_server() as api:
        user.configure({"name": "prod", "endpoint": api.url, "headers": {"channel-key_file": "channel-key"}, **keys})
        if "database" in planted:
            user.document["database_file"] = "database"
            del user.document["database"]
            user.config.write_text(as_toml(user.document))
        for step in range(4):
            api.answer = _Echoing(step).answer
            for words in (("-vv", "run", "--json"), ("-vv", "doctor"), ("status",), ("images",), ("config", "show")):
                result = user.call(*words, code=None, HOME=str(home), CREDENTIALS_DIRECTORY=str(home))
                codes.add(result.exit_code)
                said += [result.stdout_bytes, result.stderr_bytes]
            user.now += timedelta(hours=1)
    found = [hits(texts)[1] for texts in (said, stored(user.database), files(work, but=""))]

    assert all(call.headers["channel-key"] == CHANNEL for call in api.calls)
    assert any(b"[redacted]" in text for text in stored(user.database))
    assert found == [[], [], []]
    assert {0, 4} <= codes
    assert not {2, 70, 74} & codes


def test_node_groups(light: Driver) -> None:
    """What answers about clusters hold of passwords, scripts and certificates is in no byte that leaves."""
    hidden = [
        *PLANTED, "planted-nested", "planted-tagged", "planted-spelled", "planted-text",
        "planted-first", "planted-error",
    ]  # fmt: skip
    more = {
        "Login": {"User": "root", "root_password": "planted-nested", "Shell": "/bin/sh"},
        "Env": [
            {"Name": "DB_PASSWORD", "Value": "planted-tagged", "Kind": "plain"},
            {"Type": "plain", "Name": "ACCESS_TOKEN", "Value": "planted-tagged"},
        ],
        "Pass-Word": "planted-spelled",
        "Extra": '{"kubelet": {"client_cert": "planted-text"}}',
    }

    def groups(image_id: str) -> dict[str, Any]:
        one = cluster("blue", image_id, Kubeconfig={"Token": "planted-first"})
        one["NodeGroupList"][0] |= more
        return {"node-group": {"hk": [one]}}

    lies: list[dict[str, Any]] = [
        {"body": f'{{"NodeGroupList": [{{"UserData": "{PLANTED[1]}'},
        {"body": f"<html>UserData: {PLANTED[1]} planted-error</html>"},
        {"body": json.dumps(["planted-error", {"Password": PLANTED[0]}])},
        {"body": json.dumps({"RetCode": 8010, "Message": "no", "Request": {"InitScript": "planted-error"}})},
    ]
    actions = ("ListUK8SNodeGroup", "DescribeUK8SAutoscalerGroup", "ListUK8SClusterV2")
    steps: list[dict[str, Any]] = [{"inventory": groups("uimage-new")}, {"inventory": groups("uimage-vareox")}]
    steps += [{"faults": [{"action": action, **lie}]} for lie in lies for action in actions]
    steps += [{"faults": [], "inventory": groups("uimage-new")}]
    said: list[bytes] = []
    with (
        run_in_thread(kinds_timeline(groups("uimage-vareox"), steps=steps)) as cloud,
        hook_server() as hooks,
        mail_server() as mails,
    ):
        smtp = {"host": "127.0.0.1", "port": mails.port, "from": "c@example.com", "security": "none"}
        every = {"when": "every-run", "patience": "0m", "pins_from": ["live"]}
        reports: list[dict[str, Any]] = [
            {"name": "mail", "to": ["a@example.com"], **every},
            {"name": "zh", "to": ["b@example.com"], "language": "zh", **every},
            {"name": "hook", "channel": "webhook", "url": hooks.url, "secret": HOOK_SECRET, **every},
            {"name": "chat", "channel": "feishu", "url": hooks.url, **every},
        ]
        kinds = ["node-group", "uk8s-image"]
        light.configure(account(cloud.url, kinds=kinds), smtp=smtp, reports=reports)
        for step in range(1, len(steps) + 2):
            cloud.step = step
            for words in (("-vv", "run", "--json"), ("-vv", "doctor"), ("-vv", "doctor", "--assumptions")):
                result = light.call(*words, code=None)
                said += [result.stdout_bytes, result.stderr_bytes]
            light.now += timedelta(hours=1)
    asked: list[tuple[object, ...]] = [
        ("inventory", "-o", "json"), ("inventory", "--wide"), ("pins", "-o", "json"), ("status", "-o", "json"),
        ("publish", light.folder / "public"), ("publish", light.folder / "private", "--with-private", "--database"),
        ("diff", "20d", "now", "--kind", "node-group"), ("history", "ng-blue", "--kind", "node-group"),
        *(("check", "--live", "-o", form) for form in ("json", "sarif", "junit", "markdown", "github", "gitlab")),
    ]  # fmt: skip
    asked += [("explain", row["id"], *form) for row in light.rows("changes") for form in ((), ("-o", "json"))]
    for question in asked:
        result = light.call(*question, "-vv", code=None)
        said += [result.stdout_bytes, result.stderr_bytes]
        assert result.exit_code in (0, 1, 8), (question, result.output)
    texts = {
        "said": said,
        "mailed": [body for mail in mails.seen for body in _parts(mail)],
        "posted": [call.body for call in hooks.calls],
        "kept": list(stored(light.database)),
        "files": list(files(light.folder, but=light.config.name)),
    }

    for name, found in texts.items():
        assert {word for word in hidden for text in found if word.encode() in text} == set(), name
        assert any(b"uimage-new" in text for text in found), name


class _Repeating:
    """A cloud with a zone per form: fine at first, then it repeats its requests in messages, names, fields, headers."""

    def __init__(self, forms: list[str]) -> None:
        self.zones = {f"z-{number:02}": FORMS[form] for number, form in enumerate(forms)}
        self.step = 0
        self.signatures: set[str] = set()

    def answer(self, call: Call) -> Reply:
        asked = dict(parse_qsl(call.body.decode()))
        self.signatures.add(asked["Signature"])
        echo = self.zones.get(asked.get("Zone", ""), str)(call.body.decode())
        document: dict[str, Any] = {"RetCode": 0}
        if asked["Action"] == "GetRegion":
            document["Regions"] = [{"Region": "r", "Zone": zone} for zone in self.zones]
        elif asked["Action"] == "GetProjectList":
            document["ProjectSet"] = [{"ProjectId": "org-a", "ProjectName": echo if self.step == 3 else "A"}]
        else:
            image = {"ImageId": "uimage-a", "ImageName": f"You sent {echo}" if self.step == 2 else "Ubuntu 22.04"}
            document["ImageSet"] = [{**image, "Request": echo, "Also": asked} if self.step >= 2 else image]
            if self.step == 2:
                document |= {
                    "Request": asked,
                    echo: echo,
                    "NewSet": [{"ImageId": f"uimage-{asked['Zone']}", "Note": echo}],
                }
        is_list = asked["Action"] == "DescribeUK8SImage"
        if (self.step == 1 and is_list) or (self.step == 4 and not is_list):
            document = {"RetCode": 2000, "Message": f"bad request: {echo}"}
        headers = {"X-UCLOUD-REQUEST-UUID": quote(f"{self.step} {echo}"[:3000]), "Date": quote(echo[:3000])}
        return Reply(body=json.dumps(document), headers=headers if self.step else {})


class _Echoing:
    """A cloud that repeats all it was sent, headers too: in images, a refusal, a page that is none, and projects."""

    def __init__(self, step: int) -> None:
        self.step = step

    def answer(self, call: Call) -> Reply:
        asked = dict(parse_qsl(call.body.decode()))
        echo = f"{dict(call.headers)} {asked}"
        if self.step == 1:
            return Reply(body=json.dumps({"RetCode": 8010, "Message": f"you sent {echo}"}))
        if self.step == 2:
            return Reply(status=502, body=f"<html>{echo}</html>")
        document: dict[str, Any] = {"RetCode": 0, "Echo": echo, "Headers": dict(call.headers)}
        if asked["Action"] == "GetRegion":
            document["Regions"] = [{"Region": "r", "Zone": "z-1"}]
        elif asked["Action"] == "GetProjectList":
            document["ProjectSet"] = [{"ProjectId": "org-a", "ProjectName": echo if self.step == 3 else "A"}]
        else:
            document["ImageSet"] = [{"ImageId": f"uimage-{self.step}", "ImageName": echo, "Also": asked}]
        return Reply(body=json.dumps(document))


def _parts(mail: Mail) -> Iterator[bytes]:
    """Return a mail as it came, and everything in it decoded."""
    yield mail.content
    for part in mail.message.walk():
        if not part.is_multipart():
            yield part.get_payload(decode=True)  # type: ignore[misc] # bytes, of a part that is not multipart


def _always(reply: Reply) -> Callable[[Call], Reply]:
    return lambda call: reply


def _refusing(stage: str, value: Any) -> str | None:
    return f"550 you said {value!r} and crawler {MAIL_PASSWORD}" if stage == "rcpt" else None


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_processes(light: Driver, cloud: EmulatorServer, log_format: str) -> None:
    """In a process of its own, with Python's own debugging switched on, nothing more is told."""
    light.configure(canary_account(cloud.url), limits={"attempts": 2, "timeout_seconds": 0.5})
    said: list[bytes] = []
    for step in (2, 3):
        cloud.step = step
        done = light.process(
            "-vv", "--log-format", log_format, "run", environ={"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"}
        )
        assert done.returncode == {2: 3, 3: 5}[step]
        said += [done.stdout.encode(), done.stderr.encode()]

    assert hits(said)[1] == []
    assert sum(map(len, said)) > 1_000


@pytest.mark.parametrize(
    "broken",
    [
        {"private_key": [PRIVATE]},
        {"private_kee": PRIVATE},
        {"private_key": f"{PRIVATE} with spaces\n"},
        {"headers": {"channel-key": f"{CHANNEL}\n"}},
        {"headers": [CHANNEL]},
        {"endpoint": f"ftp://user:{PASSWORD}@example.com/"},
        {"ping": f"ftp://example.com/{TOKEN}"},
        {"reports": [{"name": "r", "channel": "feishu", "url": f"ftp://example.com/{HOOK}"}]},
        {"reports": [{"name": "r", "channel": "webhook", "url": [HOOK], "secret": [HOOK_SECRET]}]},
        {"reports": [{"name": "r", "channel": "apprise", "url": HOOK, "secret": HOOK_SECRET}]},
    ],
)
def test_broken_configuration(light: Driver, broken: dict[str, Any]) -> None:
    """A configuration that is wrong about a secret says what is wrong, and not the secret."""
    light.configure({**canary_account("http://127.0.0.1:9/"), **broken})
    said = [light.call("-vv", *words, code=None) for words in (("run",), ("config", "validate"), ("config", "show"))]

    assert hits([text for result in said for text in (result.stdout_bytes, result.stderr_bytes)])[1] == []
    assert [result.exit_code for result in said if result.exit_code == 70] == []


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        ("crawler.crawl.run.begin_run", 70, ("a bug", "Traceback")),
        ("crawler.crawl.reply_reader.Judge.read", 4, ("something was raised that nobody foresaw: RuntimeError",)),
    ],
)
def test_internal_error(
    light: Driver, cloud: EmulatorServer, monkeypatch: pytest.MonkeyPatch, where: str, code: int, said: tuple[str, ...]
) -> None:
    """Even a bug's traceback, asked for with -vv, shows no canary; nor does a bug that fails every target alone."""

    def bug(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(where, bug)
    result = light.configure(canary_account(cloud.url)).call("-vv", "run", code=code)

    assert [text for text in said if text not in result.stderr] == []
    assert hits([result.stdout_bytes, result.stderr_bytes])[1] == []


def test_database_password(light: Driver, cloud: EmulatorServer) -> None:
    """A database's password is in no sentence about the database."""
    light.database = f"postgresql://crawler:{PASSWORD}@127.0.0.1:9/crawler"
    light.configure(canary_account(cloud.url))
    results = [light.call("-vv", *words, code=74) for words in (("run",), ("images",), ("db", "status"))]

    assert hits([text for result in results for text in (result.stdout_bytes, result.stderr_bytes)])[1] == []
