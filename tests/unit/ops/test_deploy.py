"""The files for schedulers: those under `config/`, their rhythm, odd paths, and the published schema."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from crawler.errors import UsageError
from crawler.ops.deploy import EXAMPLE, Installation, cron, kubernetes, systemd_service, systemd_timer
from tests.support.house import text_of

ODD = replace(
    EXAMPLE,
    program=("/opt/my crawler/50%/crawler",),
    variables=("UCLOUD_PUBLIC_KEY", "UCLOUD_PRIVATE_KEY"),
    credentials=(),
    folders=("/srv/my data",),
)
BARE = replace(EXAMPLE, config=None, database=None, credentials=(), folders=(), variables=("UCLOUD_PRIVATE_KEY",))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("crontab", cron(EXAMPLE)),
        ("systemd/crawler.service", systemd_service(EXAMPLE)),
        ("systemd/crawler.timer", systemd_timer(EXAMPLE)),
        ("kubernetes/cronjob.yaml", kubernetes(EXAMPLE)),
    ],
)
def test_shipped_files(name: str, text: str) -> None:
    """The files under `config/` are what the program prints for the example installation."""
    assert text_of(Path("config") / name) == text


@pytest.mark.parametrize("installation", [EXAMPLE, ODD, BARE], ids=["example", "odd", "bare"])
def test_manifest_fits_the_published_schema(installation: Installation) -> None:
    """The CronJob validates against Kubernetes's own schema, and never runs twice at once or again."""
    manifest: dict[str, Any] = yaml.safe_load(kubernetes(installation))
    kubernetes_validate.validate(manifest, "1.34", strict=True)

    assert manifest["spec"]["concurrencyPolicy"] == "Forbid"
    assert manifest["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_schema_is_strict() -> None:
    """The schema check notices a key that does not exist."""
    manifest = yaml.safe_load(kubernetes(EXAMPLE))
    manifest["spec"]["jobTemplate"]["spec"]["backOffLimit"] = 0
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_odd_paths() -> None:
    """Spaces are quoted, and the percent sign, which cron and systemd read themselves, is escaped."""
    assert cron(ODD).splitlines()[-1].startswith(r"*/15 * * * * '/opt/my crawler/50\%/crawler' --config ")
    service = systemd_service(ODD)
    assert 'ExecStart="/opt/my crawler/50%%/crawler" --config /etc/crawler/crawler.toml run' in service
    assert 'ReadWritePaths="/srv/my data"' in service


def test_variables_are_named() -> None:
    """What the configuration takes from the environment is named in each file, and no value."""
    for text in (cron(ODD), systemd_service(ODD), kubernetes(ODD)):
        assert "UCLOUD_PRIVATE_KEY" in text


def test_no_secret_in_a_crontab() -> None:
    """A secret of the environment gets no crontab at all, neither the value nor a place for it."""
    with pytest.raises(UsageError, match="UCLOUD_PRIVATE_KEY would have to stand in it"):
        cron(replace(ODD, secrets=("UCLOUD_PRIVATE_KEY",)))


@pytest.mark.parametrize(
    ("minutes", "line", "calendar"),
    [
        (1, "* * * * *", "*:0/1"),
        (15, "*/15 * * * *", "*:0/15"),
        (60, "0 * * * *", "0/1:00"),
        (360, "0 */6 * * *", "0/6:00"),
    ],
)
def test_rhythm(minutes: int, line: str, calendar: str) -> None:
    """Minutes become cron's fields and systemd's calendar."""
    installation = replace(EXAMPLE, minutes=minutes)

    assert cron(installation).splitlines()[-1].startswith(f"{line} /opt")
    assert f"OnCalendar={calendar}\n" in systemd_timer(installation)


@pytest.mark.parametrize("minutes", [7, 90, 61, 1380])
def test_uneven_rhythm(minutes: int) -> None:
    """A rhythm that cron would not keep evenly is refused."""
    with pytest.raises(UsageError, match="no even rhythm"):
        cron(replace(EXAMPLE, minutes=minutes))
