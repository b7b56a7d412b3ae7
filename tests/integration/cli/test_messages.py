"""What people get wrong, provoked: one sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crawler.db.engine import opened
from crawler.db.migrations import upgrade
from crawler.demo import play
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, run_in_thread
from crawler.ops.remembering import NOBODY_IS_TOLD
from tests.support.command import NOW, call
from tests.support.diary import Diary, target
from tests.support.driving import Driver, account, as_toml
from tests.support.worlds import make_timeline

ACCOUNT = '[[accounts]]\nname = "prod"\npublic_key = "a"\nprivate_key = "b"\n'
MAIL = '[smtp]\nhost = "mail.example.com"\nfrom = "a@example.com"\n'
REPORT = '[[reports]]\nname = "sre"\nto = ["b@example.com"]\n'


@pytest.fixture
def light(tmp_path: Path, sqlite_url: str) -> Driver:
    return Driver(tmp_path, sqlite_url)


def complaint(text: str, folder: Path) -> str:
    """Return what `config validate` says of a configuration with *text*."""
    path = folder / "crawler.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return call("--config", path, "config", "validate", code=2).stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (ACCOUNT.replace("[[accounts]]", "[accounts]"), "accounts: write [[accounts]], with two brackets"),
        (
            f"{ACCOUNT}{MAIL}{REPORT.replace('[[reports]]', '[reports]')}",
            "reports: write [[reports]], with two brackets",
        ),
        (f"{ACCOUNT}[accounts.variants]\nname = 'g'\n", "accounts[0].variants: write [[accounts.variants]], with two"),
        (f'timezone = "Asia/Peking"\n{ACCOUNT}', "'Asia/Peking' is no known time zone; did you mean Asia/Shanghai?"),
        (f'timezone = "Asia/Beijing"\n{ACCOUNT}', "'Asia/Beijing' is no known time zone; did you mean Asia/Shanghai?"),
        (f"stale_after = “26h”\n{ACCOUNT}", "line 1 has the quote “, which TOML does not know: write \" or '"),
        (f"{ACCOUNT}regions = [＂hk＂]\n", "line 5 has the quote ＂, which TOML does not know: write \" or '"),
        (f'{ACCOUNT}regions = ["hk”]', "line 5 has the quote ”, which TOML does not know"),
        (
            f'{ACCOUNT}{MAIL}{REPORT}pins = ["uimage-vareox hk-02"]\n',
            'in each other\'s place: write "hk-02 uimage-vareox"',
        ),
        (f"{ACCOUNT}{MAIL.replace('mail.', 'smtp://mail.')}", "smtp.host: must be a host's name or address alone"),
        (f"{ACCOUNT}{MAIL.replace('mail.example.com', '[::1]', 1)}", "smtp.host: must be a host's name or address"),
        (f"{ACCOUNT}{MAIL.replace('.com', '.com:587', 1)}", "smtp.host: must be a host's name or address alone"),
    ],
)
def test_configuration(text: str, sentence: str, tmp_path: Path) -> None:
    """What is easily mistaken in a configuration is named, with what to write instead."""
    assert sentence in complaint(text, tmp_path)


def test_reversed_pins_in_a_file(tmp_path: Path) -> None:
    """So are pins in a file of their own, by line."""
    (tmp_path / "pins.txt").write_text("# ours\nhk-02 uimage-a\nuimage-b hk-02\n")
    said = complaint(f'{ACCOUNT}{MAIL}{REPORT}pins_file = "pins.txt"\n', tmp_path)

    assert "pins.txt, line 3: has the zone and the image id in each other's place" in said


@pytest.mark.parametrize("host", ["mail.example.com", "127.0.0.1", "::1", "localhost"])
def test_hosts_that_are_right(host: str, tmp_path: Path) -> None:
    """Names and addresses are hosts, IPv6 too; a typographic quote inside a text is a character like others."""
    path = tmp_path / "crawler.toml"
    path.write_text(f"{ACCOUNT.replace('prod', '“prod”')}{MAIL.replace('mail.example.com', host)}", encoding="utf-8")
    path.chmod(0o600)

    assert "is fine" in call("--config", path, "config", "validate").stdout


@pytest.mark.parametrize("words", [("config", "validate"), ("images",), ("run",)])
def test_folder_in_place_of_the_configuration(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder called crawler.toml is an error, and not passed over for another file or none."""
    monkeypatch.chdir(tmp_path)
    Path("crawler.toml").mkdir()

    said = call(*words, environ={"UCLOUD_PUBLIC_KEY": "a", "UCLOUD_PRIVATE_KEY": "b"}, code=2).stderr
    assert "crawler.toml: 1 problem\n  cannot be read: Is a directory" in said


@pytest.mark.parametrize("words", [("run",), ("run", "--dry-run")], ids=" ".join)
def test_selection_of_nothing(light: Driver, words: tuple[str, ...]) -> None:
    """A selection that no target fits names the keys or the options that made it, and what to do about them."""
    with run_in_thread(make_timeline(zones=["hk-02", "sg-01"])) as cloud:
        light.configure(account(cloud.url, zones=["hk-2"]))
        configured = light.call(*words, code=2).stderr
        light.configure(account(cloud.url))
        asked = light.call(*words, "--zone", "hk-2", code=2).stderr

    assert "widen projects, regions, zones or kinds: `crawler config show` tells what counts." in configured
    assert "`crawler run --dry-run` without restrictions lists them." not in configured
    assert 'accounts.zones: "hk-2" matches no zone of the account; the nearest: hk-02' in configured
    assert "on the command line matches none of the targets in the catalog" in asked
    assert '--zone: "hk-2" matches no zone of the account; the nearest: hk-02' in asked


def test_word_of_a_selection_that_matches_nothing(light: Driver) -> None:
    """A mistyped zone beside a right one is told by the dry run, and by runs under cron once, as is its end."""
    told = 'accounts.zones: "hk-2" matches no zone of the account; the nearest: hk-02'
    with run_in_thread(make_timeline(zones=["hk-02", "sg-01"])) as cloud:
        light.configure(account(cloud.url, zones=["sg-*", "hk-2"]))
        dry = light.call("run", "--dry-run").stderr
        said = [light.run().result.stderr for _ in range(3)]
        light.configure(account(cloud.url, zones=["sg-*", "hk-02"]))
        ended = light.run().result.stderr
        restricted = light.call("run", "--dry-run", "--zone", "sg-01", "--zone", "hk-3").stderr

    assert told in dry
    assert [one.count(told) for one in said] == [1, 0, 0]
    assert "hk-2" in ended
    assert "no longer" in ended.casefold()
    assert '--zone: "hk-3" matches no zone of the account' in restricted


def test_words_that_differ_by_a_number(light: Driver) -> None:
    """Each word has a beginning and an end of its own, whatever its numbers; what a command asks for has no end."""
    with run_in_thread(make_timeline(zones=["hk-02", "sg-01"])) as cloud:
        said = []
        for zones in (["hk-91", "hk-92"], ["hk-92"], ["hk-92", "hk-[9]3"], []):
            light.configure(account(cloud.url, zones=["sg-*", *zones]))
            said.append(light.run().result.stderr.casefold())
        asked = [light.run("--zone", "sg-01", "--zone", zone).result.stderr for zone in ("hk-4", "hk-4", "hk-5")]

    noted = [
        [word for word in ("hk-91", "hk-92", "hk-[9]3") if f'noted: prod: accounts.zones: "{word}"' in one]
        for one in said
    ]
    ended = [
        [word for word in ("hk-91", "hk-92", "hk-[9]3") if f'no longer: prod: accounts.zones: "{word}"' in one]
        for one in said
    ]
    assert noted == [["hk-91", "hk-92"], [], ["hk-[9]3"], []]
    assert ended == [[], ["hk-91"], [], ["hk-92", "hk-[9]3"]]
    assert ['--zone: "hk-' in one for one in asked] == [True, False, True]


def test_words_of_several_accounts(light: Driver) -> None:
    """A word of the command line is told where it matches nothing in any account, and where all lists are known."""
    ours = {"public_key": EXAMPLE_PUBLIC_KEY, "private_key": EXAMPLE_PRIVATE_KEY, "zones": ["hk-*"], "name": "prod"}
    other = {"public_key": "other", "private_key": "key", "zones": ["sg-*"], "name": "other"}
    refused = {"account": "other", "action": "GetRegion", "ret_code": 5000}
    timeline = make_timeline(zones=["hk-02", "sg-01"], accounts=[ours, other], steps=[{"faults": [refused]}])
    with run_in_thread(timeline) as cloud:
        keys = {"public_key": "other", "private_key": "key"}
        light.configure(account(cloud.url), account(cloud.url, "other", **keys))
        matched = light.run("--zone", "hk-02", "--zone", "sg-01").result.stderr
        missed = light.run("--zone", "hk-02", "--zone", "sg-*", "--zone", "us-*").result.stderr
        cloud.step = 2
        unknown = light.run("--zone", "hk-02", "--zone", "cn-*", code=None).result.stderr

    assert matched == ""
    assert [word for word in ("hk-02", "sg-*", "us-*") if f'--zone: "{word}" matches no zone' in missed] == ["us-*"]
    assert "matches no" not in unknown


def test_words_while_the_lists_do_not_come(light: Driver) -> None:
    """Where the lists do not come as a whole no word begins to match nothing, and none ceases to."""
    refused = {"action": "GetRegion", "ret_code": 5000}
    steps: list[dict[str, Any]] = [{"faults": [refused]}, {"faults": []}, {"faults": []}]
    with run_in_thread(make_timeline(zones=["hk-02", "sg-01"], steps=steps)) as cloud:
        said = []
        for step, zones in ((1, ["sg-*", "hk-2"]), (2, ["sg-*", "hk-2", "hk-3"]), (3, ["sg-*", "hk-2"]), (4, ["sg-*"])):
            cloud.step = step
            light.configure(account(cloud.url, zones=zones))
            said.append(light.run(code=None).result.stderr)

    assert [one.count('"hk-2" matches no zone') for one in said] == [1, 0, 0, 1]
    assert "No longer" in said[3]
    assert "hk-3" not in "".join(said)


def test_zone_that_was_there_once(light: Driver) -> None:
    """A zone that the history knows is no slip where it is not listed any more; a command hears that it is retired."""
    steps = [{"zones": ["sg-01"]}]
    with run_in_thread(make_timeline(zones=["hk-02", "sg-01"], projects=["org-a", "org-b"], steps=steps)) as cloud:
        light.configure(account(cloud.url, zones=["sg-*", "HK-02"], regions=["hk", "sg"], projects=["a", "org-b"]))
        light.run()
        cloud.step = 2
        asked = [light.run("--zone", "hk-02", "--zone", "sg-01").result.stderr]
        said = [light.run().result.stderr for _ in range(12)]
        dry = light.call("run", "--dry-run").stderr
        asked.append(light.run("--zone", "hk-02", "--zone", "sg-01").result.stderr)

    assert ['--zone: "hk-02" matches no zone' in one for one in asked] == [False, True]
    assert "match" not in "".join(said)
    assert "match" not in dry


def test_word_that_an_incomplete_list_lacks(light: Driver) -> None:
    """A list that did not come as a whole says nothing about what it lacks."""
    regions = [{"Region": "hk", "Zone": "hk-02", "RegionId": 1}, {"Region": "hk", "Zone": None, "RegionId": 2}]
    fault = {"action": "GetRegion", "body": json.dumps({"RetCode": 0, "Regions": regions})}
    with run_in_thread(make_timeline(zones=["hk-02", "hk-03"], faults=[fault])) as cloud:
        light.configure(account(cloud.url, zones=["hk-02", "hk-03"]))
        said = light.call("doctor", code=None).output + light.run(code=None).result.stderr

    assert "1 of 2 rows cannot be read" in said
    assert "hk-03" not in said


def test_nobody_is_told(light: Driver) -> None:
    """Under cron the first change says once that no report is configured; a report ends it."""
    steps = [{"add": {"hk-02": {f"uimage-{letter}": f"CentOS {letter}"}}} for letter in "bcd"]
    with run_in_thread(make_timeline(zones={"hk-02": {"uimage-a": "CentOS 7.6"}}, steps=steps)) as cloud:
        light.configure(account(cloud.url))
        said = []
        for step in (1, 1, 2, 2, 3):
            cloud.step = step
            said.append(light.run().result.stderr.count(NOBODY_IS_TOLD))
        cloud.step = 4
        reports = [{"name": "ops", "channel": "webhook", "url": "http://127.0.0.1:9/", "secret": "s" * 32}]
        light.config.write_text(as_toml({**light.document, "reports": reports}))
        ended = light.run("--no-report", code=None).result.stderr

    assert said == [0, 0, 1, 0, 0]
    assert f"no longer: {NOBODY_IS_TOLD}" in ended.casefold()


def test_explain_what_was_known(tmp_path: Path) -> None:
    """The two values of a change are told, for the one that was known may be older than the answer before it."""
    database = ("--database", tmp_path / "crawler.db")
    with opened(tmp_path / "crawler.db") as engine:
        upgrade(engine)
        diary = Diary(engine)
        for stated in ({"OsType": "Linux"}, {}, {"OsType": "Windows"}):
            diary.run({target("hk-02"): {"uimage-a": {"ImageName": "A", **stated}}})
    told = [call(*database, *words, "explain", "uimage-a").stdout for words in ((), ("--language", "zh"))]

    assert "\nchanged   os_type: Linux → Windows\n" in told[0]
    assert "\n变化" in told[1]
    assert "(not stated)" in told[0]


def test_explain_an_image(tmp_path: Path) -> None:
    """`explain` of an image id explains its last change; without one it says so, and what is unheard of as well."""
    play(tmp_path / "demo.db", clock=lambda: datetime.now(UTC))
    database = ("--database", tmp_path / "demo.db")

    assert call(*database, "explain", "uimage-rccvz4l9itr").stdout.startswith(
        "change    5, withdrawn uimage-rccvz4l9itr (Ubuntu 20.04, ImageSet)\n"
    )
    assert call(*database, "explain", "uimage-ji1vyq", code=2).stderr == (
        "Error: No change of uimage-ji1vyq was recorded; `crawler history uimage-ji1vyq` shows what is known of it.\n"
    )
    assert "knows no image id or name 'uimage-varoex'; the nearest: uimage-vareox" in (
        call(*database, "explain", "uimage-varoex", code=2).stderr
    )


def test_errors_in_chinese(tmp_path: Path) -> None:
    """Errors of the command, of the command line and of the configuration are told in the locale's language."""
    play(tmp_path / "demo.db", clock=lambda: datetime.now(UTC))
    database = ("--database", tmp_path / "demo.db")
    chinese = {"LANG": "zh_CN.UTF-8"}

    said = call(*database, "images", "--zone", "hk-20", environ=chinese, code=2).stderr
    assert said == "错误：历史记录中没有可用区“hk-20”；相近的有：hk-02。\n"
    assert "错误：没有选项 '--zonne'。" in call("images", "--zonne", environ=chinese, code=2).stderr
    assert (
        "knows no zone" in call(*database, "--language", "en", "images", "--zone", "x", environ=chinese, code=2).stderr
    )
    path = tmp_path / "crawler.toml"
    path.write_text(ACCOUNT.replace("[[accounts]]", "[accounts]"))
    assert call("--config", path, "config", "validate", environ=chinese, code=2).stderr == (
        f"错误：{path}：1 个问题\n  accounts：请写成 [[accounts]]（两层方括号）：该项可以有多个\n"
    )


def test_a_whole_day_in_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo, the doctor, care of the database and what cron mails are Chinese; ids, paths and JSON stay."""
    monkeypatch.chdir(tmp_path)
    chinese = {"LANG": "zh_CN.UTF-8"}
    screen = call("demo", environ=chinese).stdout
    path = tmp_path / "crawler.toml"
    path.write_text(
        f'database = "crawler-demo.db"\n{ACCOUNT.replace("prod", "demo")}endpoint = "http://127.0.0.1:9/"\n'
    )
    path.chmod(0o600)
    whole = ("--config", path)

    assert "th-bkk-01：2 个镜像中有 2 个不再列出，待确认" in screen
    assert "hk-02 更换 ID 1 个、下架 1 个；kr-seoul-01 未观测到" in screen
    assert not [line for line in screen.splitlines() if "not " in line or "withdrawn" in line]
    assert call(*whole, "db", "check", environ=chinese).stderr == "一切正常。\n"
    assert call(*whole, "db", "prune", "--keep", "2y", environ=chinese).stdout == "已清理：无\n"
    found = call(*whole, "doctor", environ=chinese, code=None).stdout
    assert "正常  完整性" in found
    assert "→ 请检查地址、网络、代理或防火墙，以及本机的证书" in found
    assert '"state"' in call(*whole, "doctor", "--json", environ=chinese, code=None).stdout
    mailed = call(*whole, "run", environ=chinese, now=NOW + timedelta(hours=1), code=None).stderr
    assert "次巡检（" in mailed
    assert "  新出现：demo/" in mailed
