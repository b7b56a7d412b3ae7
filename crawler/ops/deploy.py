"""
Ready files that run the crawler on a schedule: a crontab line, a systemd service and timer, a Kubernetes CronJob.

Pure: an `Installation` goes in, text comes out. Every path is absolute, so that the files need no profile, no PATH and
no working folder. The files under `config/` are those of `EXAMPLE`.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from crawler.errors import UsageError

#: What is left to a run beyond its own deadlines, before the scheduler ends it.
GRACE_SECONDS = 120
#: Where systemd's service has its variables from.
ENVIRONMENT_FILE = "/etc/crawler/environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where the program, its configuration and its data are, and what they need."""

    #: The words that start the program; the first is an absolute path.
    program: tuple[str, ...]
    #: None: everything comes from the environment.
    config: str | None
    #: The SQLite file; None on PostgreSQL.
    database: str | None
    user: str
    #: What `--database` is to say; None: the configuration says where the database is.
    option: str | None = None
    #: Folders a run writes to.
    folders: tuple[str, ...] = ()
    #: Secret files by the name the configuration uses.
    credentials: tuple[tuple[str, str], ...] = ()
    #: Environment variables the configuration refers to.
    variables: tuple[str, ...] = ()
    #: Those of them that stand for a key, a password or an address that is secret.
    secrets: tuple[str, ...] = ()
    #: What a run may take at most, by its own deadlines.
    deadline_seconds: float = 720
    minutes: int = 15
    image: str = "crawler:latest"
    #: The configuration and what it names beside it, by file name: the ConfigMap; empty where it is kept otherwise.
    config_files: tuple[tuple[str, str], ...] = ()
    #: The configuration holds a secret itself, so that it is one.
    is_config_secret: bool = False
    #: The ports that a run calls.
    ports: tuple[int, ...] = (443, 587)

    @property
    def words(self) -> tuple[str, ...]:
        """Give the command of a run."""
        options = (("--config", self.config), ("--database", self.option))
        return (*self.program, *(word for name, value in options if value for word in (name, value)), "run")

    @property
    def time_limit(self) -> int:
        """Give the seconds after which a run hangs."""
        return round(self.deadline_seconds) + GRACE_SECONDS


EXAMPLE = Installation(
    program=("/opt/crawler/bin/crawler",),
    config="/etc/crawler/crawler.toml",
    database="/var/lib/crawler/crawler.db",
    user="crawler",
    folders=("/var/lib/crawler",),
    credentials=(("private.key", "/etc/crawler/private.key"), ("smtp.password", "/etc/crawler/smtp.password")),
)


def _rhythm(minutes: int) -> tuple[str, str]:
    """Give every so many *minutes* as cron and as systemd write it; raise UsageError where that is uneven."""
    if 0 < minutes < 60 and 60 % minutes == 0:
        return (f"*/{minutes} * * * *" if minutes > 1 else "* * * * *"), f"*:0/{minutes}"
    hours, rest = divmod(minutes, 60)
    if not rest and hours and 24 % hours == 0:
        return (f"0 */{hours} * * *" if hours > 1 else "0 * * * *"), f"0/{hours}:00"
    raise UsageError(f"Every {minutes} minutes is no even rhythm: use a divisor of an hour, or whole hours.")


# --- cron ------------------------------------------------------------------------------------------------------------


def cron(installation: Installation) -> str:
    """
    Return a line for a crontab: cron mails what a run says, which is nothing unless something begins, changes or ends.

    Raises UsageError where a secret would have to stand in it: Debian's cron puts a crontab's variables into the
    headers of every mail that it sends.
    """
    if installation.secrets:
        raise UsageError(_no_keys(installation))
    rhythm, _ = _rhythm(installation.minutes)
    command = shlex.join(installation.words).replace("%", r"\%")
    if "\n" in command:
        raise UsageError("A path with a line break cannot stand in a crontab.")
    lines = ["# Mail comes only when a condition begins, changes or ends.", "#MAILTO=ops@example.com"]
    if installation.variables:
        lines.append("# cron has none of your shell's variables: write into the configuration what these stand for:")
        lines += [f"#   {name}" for name in installation.variables]
    return "\n".join([*lines, f"{rhythm} {command}", ""])


def _no_keys(installation: Installation) -> str:
    names = ", ".join(installation.secrets)
    if installation.config is None:
        way = "`crawler init --key-file private.key` writes the key into a file of its own, and what names it"
    else:
        way = (
            f"put each into a file of mode 0600 that {installation.config} names (private_key_file, password_file, "
            "<header>_file …); public_key may stand there itself"
        )
    return (
        f"No crontab is printed: {names} would have to stand in it, and cron puts a crontab's variables into the "
        f"headers of every mail it sends. Instead, {way}."
    )


# --- systemd ---------------------------------------------------------------------------------------------------------

_HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp={private_tmp}
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0022
"""


def systemd_service(installation: Installation) -> str:
    """Give the hardened service that makes one run."""
    lines = [
        "[Unit]",
        "Description=Crawl the node images of the cloud",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"User={installation.user}",
        "ExecStart=" + " ".join(_systemd_word(word) for word in installation.words),
        "# Another run still holds the lock: no failure.",
        "SuccessExitStatus=75",
        f"TimeoutStartSec={installation.time_limit}",
        "KillSignal=SIGTERM",
        "TimeoutStopSec=30",
    ]
    lines += [f"LoadCredential={name}:{_systemd_path(path)}" for name, path in installation.credentials]
    if installation.variables:
        lines += [f"# NAME=value of {', '.join(installation.variables)}; readable by root alone."]
        lines += [f"EnvironmentFile={ENVIRONMENT_FILE}"]
    lines += [f"ReadWritePaths={_systemd_word(folder)}" for folder in installation.folders]
    in_tmp = any(_is_in_tmp(path) for path in (*installation.folders, *installation.program, installation.config or ""))
    return "\n".join([*lines, "", _HARDENING.format(private_tmp="no" if in_tmp else "yes")])


def systemd_timer(installation: Installation) -> str:
    """Give the timer of the service."""
    _, rhythm = _rhythm(installation.minutes)
    return "\n".join(
        [
            "[Unit]",
            "Description=Crawl the node images of the cloud on a schedule",
            "",
            "[Timer]",
            f"OnCalendar={rhythm}",
            "RandomizedDelaySec=20",
            "Persistent=yes",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )


def _systemd_path(path: str) -> str:
    return path.replace("%", "%%")


def _systemd_word(word: str) -> str:
    text = _systemd_path(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"' if any(char.isspace() or char in "'\"\\;" for char in word) else text


def _is_in_tmp(path: str) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in ("/tmp", "/var/tmp"))  # noqa: S108 - only asks


# --- Kubernetes ------------------------------------------------------------------------------------------------------

_SECRETS = "/run/secrets/crawler"
_DATA = "/var/lib/crawler"
#: The volume is one node's, so all pods that use it are on that node; the first may choose.
_AFFINITY = (
    "          affinity:",
    "            podAffinity:",
    "              requiredDuringSchedulingIgnoredDuringExecution:",
    "                - topologyKey: kubernetes.io/hostname",
    "                  labelSelector: {matchLabels: {app.kubernetes.io/name: crawler}}",
)


def kubernetes(installation: Installation) -> str:
    """Give the CronJob: one run at a time, never a second try of a run, the next one comes by itself."""
    rhythm, _ = _rhythm(installation.minutes)
    words = ["crawler"]
    if installation.config:
        words += ["--config", "/etc/crawler/crawler.toml"]
    if installation.database:
        words += ["--database", f"{_DATA}/{PurePosixPath(installation.database).name}"]
    elif installation.option:
        words += ["--database", installation.option]
    head = ["# Made by `crawler schedule kubernetes`."]
    if installation.is_config_secret:
        head.append(f"#   kubectl create secret generic crawler-config --from-file=crawler.toml={installation.config}")
    secrets = [f"--from-file={name}={path}" for name, path in installation.credentials]
    secrets += [f"--from-literal={name}=…" for name in installation.variables]
    if secrets:
        head.append(f"#   kubectl create secret generic crawler {' '.join(secrets)}")
    if len(head) > 1:
        head[0] += " What it needs once:"
    environment = [("CREDENTIALS_DIRECTORY", _SECRETS)] if installation.credentials else []
    return "\n".join(
        [
            *head,
            "apiVersion: batch/v1",
            "kind: CronJob",
            "metadata:",
            "  name: crawler",
            "  labels:",
            "    app.kubernetes.io/name: crawler",
            "spec:",
            f"  schedule: {_yaml(rhythm)}",
            "  concurrencyPolicy: Forbid",
            f"  startingDeadlineSeconds: {min(installation.minutes * 60, 600)}",
            "  successfulJobsHistoryLimit: 1",
            "  failedJobsHistoryLimit: 3",
            "  jobTemplate:",
            "    spec:",
            "      backoffLimit: 0",
            f"      activeDeadlineSeconds: {installation.time_limit}",
            "      template:",
            "        metadata:",
            "          labels:",
            "            app.kubernetes.io/name: crawler",
            "        spec:",
            "          restartPolicy: Never",
            "          automountServiceAccountToken: false",
            "          terminationGracePeriodSeconds: 30",
            *(_AFFINITY if installation.database else ()),
            "          securityContext:",
            "            runAsNonRoot: true",
            "            runAsUser: 10001",
            "            fsGroup: 10001",
            "            seccompProfile:",
            "              type: RuntimeDefault",
            "          containers:",
            "            - name: crawler",
            f"              image: {_yaml(installation.image)}",
            f"              command: [{', '.join(_yaml(word) for word in (*words, 'run'))}]",
            *_environment(environment, installation.variables),
            "              securityContext:",
            "                allowPrivilegeEscalation: false",
            "                readOnlyRootFilesystem: true",
            "                capabilities:",
            '                  drop: ["ALL"]',
            "              resources:",
            "                requests: {cpu: 100m, memory: 128Mi}",
            "                limits: {memory: 512Mi}",
            *_volumes(installation),
            "",
        ]
    )


def _environment(plain: list[tuple[str, str]], variables: tuple[str, ...]) -> list[str]:
    if not plain and not variables:
        return []
    lines = ["              env:"]
    for name, value in plain:
        lines += [f"                - name: {name}", f"                  value: {_yaml(value)}"]
    for name in variables:
        lines += [f"                - name: {name}", "                  valueFrom:"]
        lines += [f"                    secretKeyRef: {{name: crawler, key: {name}}}"]
    return lines


def _volumes(installation: Installation) -> list[str]:
    volumes = []
    if installation.config:
        kept = "secret: {secretName: crawler-config}" if installation.is_config_secret else "configMap: {name: crawler}"
        volumes.append(("config", "/etc/crawler", True, kept))
    if installation.credentials:
        volumes.append(("secrets", _SECRETS, True, "secret: {secretName: crawler, defaultMode: 288}"))
    if installation.database:
        volumes.append(("data", _DATA, False, "persistentVolumeClaim: {claimName: crawler}"))
    # Large answers of a database are sorted in a temporary file.
    volumes.append(("tmp", "/tmp", False, "emptyDir: {}"))  # noqa: S108 - inside the container
    lines = ["              volumeMounts:"]
    for name, path, read_only, _ in volumes:
        lines += [f"                - name: {name}", f"                  mountPath: {path}"]
        lines += ["                  readOnly: true"] if read_only else []
    lines += ["          volumes:"]
    for name, _, _, source in volumes:
        lines += [f"            - name: {name}", f"              {source}"]
    return lines


def _yaml(text: str) -> str:
    """Write a text; a JSON string is a YAML string."""
    return json.dumps(text, ensure_ascii=False)
