"""The files for schedulers: those under `config/`, their rhythm, odd paths, and the published schema."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from crawler.errors import UsageError
from crawler.ops.deploy import (
    EXAMPLE,
    FLEET_EXAMPLE,
    Installation,
    block,
    cron,
    kubernetes,
    manifests,
    surroundings,
    systemd_service,
    systemd_timer,
    systemd_worker,
    worker_manifests,
)
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
        ("systemd/crawler-worker.service", systemd_worker(FLEET_EXAMPLE)),
        ("kubernetes/cronjob.yaml", kubernetes(EXAMPLE)),
        ("kubernetes/surroundings.yaml", surroundings(EXAMPLE)),
    ],
)
def test_shipped_files(name: str, text: str) -> None:
    """The files under `config/` are what the program prints for the example installation."""
    assert text_of(Path("config") / name) == text


@pytest.mark.parametrize("installation", [EXAMPLE, ODD, BARE], ids=["example", "odd", "bare"])
def test_manifest_fits_the_published_schema(installation: Installation) -> None:
    """Each object validates against Kubernetes's own schema; the CronJob never runs twice at once or again."""
    objects = objects_of(manifests(installation))
    for manifest in objects.values():
        kubernetes_validate.validate(manifest, "1.34", strict=True)

    manifest = objects["CronJob"]
    volumes = {"PersistentVolumeClaim", "Deployment"} if installation.database else set()
    assert set(objects) == {"CronJob", "NetworkPolicy"} | volumes
    assert manifest["spec"]["concurrencyPolicy"] == "Forbid"
    assert manifest["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_workers_fit_the_published_schema() -> None:
    """The Deployment of workers validates, and gives them the time to end what they crawl."""
    objects = objects_of(worker_manifests(FLEET_EXAMPLE))
    for manifest in objects.values():
        kubernetes_validate.validate(manifest, "1.34", strict=True)

    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert set(objects) == {"Deployment", "NetworkPolicy"}
    assert pod["terminationGracePeriodSeconds"] == FLEET_EXAMPLE.stop_seconds == 750
    assert pod["containers"][0]["command"][-3:] == ["worker", "--slots", "16"]
    assert f"TimeoutStopSec={FLEET_EXAMPLE.stop_seconds}\n" in systemd_worker(FLEET_EXAMPLE)
    assert "\nRestart=always\n" in systemd_worker(FLEET_EXAMPLE)


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


def test_odd_paths_in_commands() -> None:
    """What the manifests say to paste is taken by a shell as it is meant, whatever the paths are called."""
    folder = "/etc/my crawler"
    keys = (("a key", f"{folder}/a key"),)
    odd = replace(ODD, config=f"{folder}/crawler.toml", credentials=keys, database="/srv/a b.db", is_config_secret=True)
    text = manifests(odd)
    commands = [shlex.split(line[1:]) for line in text.splitlines() if line.startswith("#   kubectl")]

    assert commands[0][-1] == f"--from-file=crawler.toml={folder}/crawler.toml"
    assert f"--from-file=a key={folder}/a key" in commands[1]
    assert commands[2][-3:] == ["--database", "/var/lib/crawler/a b.db", "images"]


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
        (720, "0 */12 * * *", "0/12:00"),
        (1440, "0 0 * * *", "0:00"),
    ],
)
def test_rhythm(minutes: int, line: str, calendar: str) -> None:
    """Minutes become cron's fields and systemd's calendar."""
    installation = replace(EXAMPLE, minutes=minutes)

    assert cron(installation).splitlines()[-1].startswith(f"{line} /opt")
    assert f"OnCalendar={calendar}\n" in systemd_timer(installation)


@pytest.mark.parametrize("minutes", [7, 90, 61, 300, 1380])
def test_uneven_rhythm(minutes: int) -> None:
    """A rhythm that cron would not keep evenly is refused."""
    with pytest.raises(UsageError, match="no even rhythm: use minutes that divide an hour, or hours that divide a day"):
        cron(replace(EXAMPLE, minutes=minutes))


def objects_of(text: str) -> dict[str, dict[str, Any]]:
    """Return the objects by kind."""
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text)}


def test_users_of_the_image() -> None:
    """Every pod is the image's user on a read-only root, has no token of the cluster, and all are on one node."""
    objects = objects_of(manifests(replace(EXAMPLE, image="registry.example.com/crawler:1")))
    pods = [objects["CronJob"]["spec"]["jobTemplate"]["spec"], objects["Deployment"]["spec"]]
    for spec in (pod["template"]["spec"] for pod in pods):
        (container,) = spec["containers"]
        assert container["image"] == "registry.example.com/crawler:1"
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsNonRoot"]) == (10001, True)
        assert spec["automountServiceAccountToken"] is False
        assert spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (data, _) = pods[1]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert data["readOnly"]


def test_kustomize_base() -> None:
    """The base names files that exist, makes the ConfigMap that the CronJob mounts, and has one place for the image."""
    folder = Path("config/kubernetes")
    base = yaml.safe_load(text_of(folder / "kustomization.yaml"))
    (generated,) = base["configMapGenerator"]
    files = [name.rpartition("=")[2] for name in generated["files"]]

    assert base["resources"] == ["cronjob.yaml", "surroundings.yaml"]
    assert (generated["name"], base["generatorOptions"]) == ("crawler", {"disableNameSuffixHash": True})
    assert all(text_of(folder / name) for name in (*base["resources"], *files))
    assert base["images"][0]["name"] == EXAMPLE.image.partition(":")[0]


@pytest.mark.parametrize(
    "text", ["a = 1\n", "a = 1", "", "\n\na\n", "  a\n\tb\n \nc\n", "a\n\n", "a\r\nb\n", "x\x7f\n", "# 香港\n---\n"]
)
def test_block(text: str) -> None:
    """A file comes out of the YAML as it went in, whatever its blanks and ends of lines."""
    assert yaml.safe_load(f"data:\n  name: {block(text)}\n  next: 1\n") == {"data": {"name": text, "next": 1}}
