"""`[[reports]]`: every key read, every problem named at once."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path

import pytest

from crawler.config.display import as_document, as_toml
from crawler.config.loader import load
from crawler.config.models import Settings
from crawler.domain.subscriptions import Pin, When
from crawler.errors import ConfigurationError

HEAD = """
timezone = "Europe/Berlin"
[[accounts]]
name = "prod"
public_key = "pub"
private_key = "priv"
[smtp]
host = "localhost"
from = "crawler@example.com"
[[reports]]
name = "sre"
to = ["sre@example.com"]
"""


def read(tmp_path: Path, more: str = "", head: str = HEAD) -> Settings:
    path = tmp_path / "crawler.toml"
    path.write_text(head + more, encoding="utf-8")
    path.chmod(0o600)
    return load(path, None, {"HOME": str(tmp_path)})


def problems(tmp_path: Path, more: str, head: str = HEAD) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, more, head)
    return dict(problem.partition(": ")[::2] for problem in caught.value.problems)


def test_defaults(tmp_path: Path) -> None:
    """A name and an address are a whole report: after every run, in English, in the file's time zone."""
    (report,) = read(tmp_path).reports
    subscription = report.subscription

    assert (report.name, report.channel, report.to) == ("sre", "email", ("sre@example.com",))
    assert (subscription.when, subscription.language, subscription.empty) == (When(), "en", False)
    assert str(subscription.timezone) == "Europe/Berlin"
    assert (subscription.urgent, subscription.pins) == (("pins",), ())
    assert (subscription.patience, report.alert_after) == (timedelta(hours=1), timedelta(hours=1))


def test_everything(tmp_path: Path) -> None:
    """Every key means what it says; pins stand in the file, in a file of their own, or in both."""
    (tmp_path / "pins.txt").write_text("# ours\nhk-02 uimage-a  # twice\n\ncn-bj2-05\tuimage-b\n")
    (report,) = read(
        tmp_path,
        """
        when = "weekly mon 09:00"
        timezone = "Asia/Shanghai"
        language = "zh"
        empty = true
        patience = "0s"
        alert_after = "2d"
        urgent = []
        pins = ["hk-02 uimage-a"]
        pins_file = "pins.txt"
        [reports.filters]
        account = "prod"
        zone = ["hk-*", "cn-*"]
        name = "ubuntu*"
        event = ["withdrawn", "MODIFIED"]
        gpu = true
        """,
    ).reports
    subscription, watch = report.subscription, report.subscription.watch

    assert subscription.when == When(at=time(9), weekday=0)
    assert (str(subscription.timezone), subscription.language, subscription.empty) == ("Asia/Shanghai", "zh", True)
    assert (subscription.patience, report.alert_after, subscription.urgent) == (timedelta(0), timedelta(days=2), ())
    assert subscription.pins == (Pin("hk-02", "uimage-a"), Pin("cn-bj2-05", "uimage-b"))
    assert (watch.account, watch.zone, watch.name) == (("prod",), ("hk-*", "cn-*"), ("ubuntu*",))
    assert (watch.event, watch.gpu, watch.kind) == (("withdrawn", "modified"), True, ())


def test_every_problem_at_once(tmp_path: Path) -> None:
    """Whatever is wrong with a report is told in one go, with the key and what would be right."""
    (tmp_path / "pins.txt").write_text("hk-02 uimage-a\nuimage-b\nhk-* uimage-c\n")
    found = problems(
        tmp_path,
        """
        when = "dayly 09:00"
        timezone = "Asia/Shanghia"
        language = "fr"
        empty = "no"
        patience = "soon"
        alert_after = "0s"
        urgent = ["pin"]
        pins = ["uimage-a"]
        pins_file = "pins.txt"
        zone = "hk-02"
        [reports.filters]
        account = "prd"
        kind = "uk8s"
        event = "gone"
        gpu = "yes"
        zones = "hk-02"
        """,
    )

    expected = {
        "reports[0].when": 'must be "every-run", "daily 09:00" or "weekly mon 09:00"',
        "reports[0].timezone": "did you mean Asia/Shanghai",
        "reports[0].language": "must be one of 'en', 'zh'",
        "reports[0].empty": "must be true or false",
        "reports[0].patience": "is no duration",
        "reports[0].alert_after": "must be longer than nothing",
        "reports[0].urgent[0]": "must be one of 'pins'",
        "reports[0].pins[0]": "must be a zone and an image id",
        "reports[0].zone": "(or [reports.filters] for it)",
        "reports[0].filters.account": "'prd' fits none of the accounts; did you mean prod",
        "reports[0].filters.kind": "'uk8s' fits none of the known kinds",
        "reports[0].filters.event[0]": "must be one of 'appeared', 'returned', 'withdrawn'",
        "reports[0].filters.gpu": "must be true or false",
        "reports[0].filters.zones": "did you mean zone",
    }
    assert {key: text for key, text in expected.items() if text not in found.get(key, "")} == {}
    assert "pins.txt, line 3" in found["reports[0].pins_file"]
    assert found.keys() == expected.keys() | {"reports[0].pins_file"}


@pytest.mark.parametrize("when", ["every-run", "daily 9:00", "Daily  09:00", "weekly sun 23:59"])
def test_whens(tmp_path: Path, when: str) -> None:
    """The three forms of `when` are read, whatever their case and spaces."""
    assert read(tmp_path, f'when = "{when}"\n').reports[0].subscription.when == When() or when != "every-run"


@pytest.mark.parametrize(
    "to", ["a@b.c, d@e.f", "a@b.c,d@e.f", "nobody", "a b@c.d", "a@b.c\\r\\nBcc: x@y.z", "张三@例子.公司", ""]
)
def test_one_address_each(tmp_path: Path, to: str) -> None:
    """An entry of `to` is one address; lists, line ends and what no plain server delivers are refused."""
    head = HEAD.replace("sre@example.com", to)

    assert "reports[0].to[0]" in problems(tmp_path, "", head)


def test_missing_pins_file(tmp_path: Path) -> None:
    """A file of pins that cannot be read is a problem of its key."""
    assert "cannot be read: No such file" in problems(tmp_path, 'pins_file = "none.txt"\n')["reports[0].pins_file"]


def test_shown(tmp_path: Path) -> None:
    """What `config show` prints of a report is a report again."""
    more = 'when = "daily 09:00"\npins = ["hk-02 uimage-a"]\npatience = "90m"\n[reports.filters]\nzone = "hk-*"\n'
    settings = read(tmp_path, more)
    shown = as_document(settings)["reports"]
    tables = as_toml({"reports": shown})

    head = HEAD.partition("[[reports]]")[0]
    assert read(tmp_path, tables, head).reports == settings.reports
