"""
Ready files that run the crawler on a schedule: a crontab line, a systemd service and timer, a Kubernetes CronJob
and the objects around it.

Pure: an `Installation` goes in, text comes out. Every path is absolute, so that the files need no profile, no PATH and
no working folder. The files under `config/` are those of `EXAMPLE`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from crawler.domain.models import digest_of
from crawler.domain.text import quoted
from crawler.errors import UsageError
from crawler.ops.printing import printed

#: What is left to a run beyond its own deadlines, before the scheduler ends it.
GRACE_SECONDS = 120
#: What is left to a worker beyond the deadlines of what it crawls, once it is to end.
STOP_SECONDS = 30
#: How many crawls are due or worked on, for who starts workers by that.
DUE_QUERY = (
    "SELECT count(*) FROM crawler_jobs.procrastinate_jobs WHERE task_name = 'crawl' "
    "AND (status = 'doing' OR status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()))"
)
#: What no name of a unit or an object holds, and how much of an account's name goes into one: Kubernetes takes 52.
_PLAIN = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 30
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

    #: Accounts that a worker crawls at a time; 0: this is no worker.
    slots: int = 0
    #: Globs over the accounts that are run; none: all.
    accounts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return what units and objects are called, so that those of some accounts stand beside those of others."""
        said = "-".join(self.accounts)
        plain = _PLAIN.sub("-", said.casefold()).strip("-")[:_LONGEST_NAME].rstrip("-")
        return "-".join(filter(None, ("crawler", plain, digest_of(list(self.accounts))[:8] if plain != said else "")))

    @property
    def account_words(self) -> tuple[str, ...]:
        """Return the options that name the accounts."""
        return tuple(word for account in self.accounts for word in ("--account", account))

    @property
    def words(self) -> tuple[str, ...]:
        """Return the command of a run."""
        options = (("--config", self.config), ("--database", self.option))
        return (*self.program, *(word for name, value in options if value for word in (name, value)), *self.command)

    @property
    def command(self) -> tuple[str, ...]:
        """Return the command without the options before it."""
        return ("worker", "--slots", str(self.slots)) if self.slots else ("run", *self.account_words)

    @property
    def stop_seconds(self) -> int:
        """Return how long a worker may take to end what it crawls."""
        return round(self.deadline_seconds) + STOP_SECONDS

    @property
    def time_limit(self) -> int:
        """Return the seconds after which a run hangs."""
        return round(self.deadline_seconds) + GRACE_SECONDS


EXAMPLE = Installation(
    program=("/opt/crawler/bin/crawler",),
    config="/etc/crawler/crawler.toml",
    database="/var/lib/crawler/crawler.db",
    user="crawler",
    folders=("/var/lib/crawler",),
    credentials=(("private.key", "/etc/crawler/private.key"), ("smtp.password", "/etc/crawler/smtp.password")),
)

#: Where the history is on PostgreSQL, and workers share it.
FLEET_EXAMPLE = replace(EXAMPLE, database=None, folders=(), slots=16)


def _rhythm(minutes: int) -> tuple[str, str]:
    """Return every so many *minutes* as cron and as systemd write it; raise UsageError where that is uneven."""
    if 0 < minutes < 60 and 60 % minutes == 0:
        return (f"*/{minutes} * * * *" if minutes > 1 else "* * * * *"), f"*:0/{minutes}"
    hours, rest = divmod(minutes, 60)
    if minutes == 24 * 60:  # systemd repeats no hour after 24 of them
        return "0 0 * * *", "0:00"
    if not rest and hours and 24 % hours == 0:
        return (f"0 */{hours} * * *" if hours > 1 else "0 * * * *"), f"0/{hours}:00"
    raise UsageError(
        f"Every {minutes} minutes is no even rhythm: use minutes that divide an hour, or hours that divide a day."
    )


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
    return printed("crawler.ops", "crontab.j2", {}, it=installation, rhythm=rhythm, command=command)


def _no_keys(installation: Installation) -> str:
    names = ", ".join(installation.secrets)
    lines: tuple[str, ...] = ()
    if installation.config is None:
        way = "`crawler init --key-file private.key` writes the key into a file of its own, and what names it"
    else:
        way = (
            f"put each into a file of mode 0600 that {installation.config} names (private_key_file, password_file, "
            "<header>_file …); public_key may stand there itself"
        )
        if "UCLOUD_PRIVATE_KEY" in installation.secrets:
            key = str(PurePosixPath(installation.config).with_name("private.key"))
            lines = (
                'For the private key: private_key_file = "private.key" there, in the place of private_key, and',
                f"  (umask 077; printenv UCLOUD_PRIVATE_KEY >{shlex.quote(key)})",
            )
    said = (
        f"No crontab is printed: {names} would have to stand in it, and cron puts a crontab's variables into the "
        f"headers of every mail it sends. Instead, {way}."
    )
    return "\n".join((said, *lines))


# --- systemd ---------------------------------------------------------------------------------------------------------


def systemd_service(installation: Installation) -> str:
    """Return the hardened service that makes one run."""
    return _service("crawler.service.j2", installation)


def _service(template: str, installation: Installation) -> str:
    in_tmp = any(_is_in_tmp(path) for path in (*installation.folders, *installation.program, installation.config or ""))
    return printed(
        "crawler.ops",
        template,
        {"word": _systemd_word, "item": _systemd_item, "percent": _systemd_path},
        it=installation,
        environment_file=ENVIRONMENT_FILE,
        in_tmp=in_tmp,
    )


def systemd_worker(installation: Installation) -> str:
    """Return the hardened service of a worker, which is started again whenever it ends."""
    return _service("crawler-worker.service.j2", installation)


def systemd_timer(installation: Installation) -> str:
    """Return the timer of the service."""
    _, rhythm = _rhythm(installation.minutes)
    return printed("crawler.ops", "crawler.timer.j2", {}, rhythm=rhythm)


def _systemd_path(path: str) -> str:
    return path.replace("%", "%%")


def _systemd_word(word: str) -> str:
    """Return a word of a command, in which systemd replaces variables."""
    return _systemd_item(word).replace("$", "$$")


def _systemd_item(word: str) -> str:
    """Return one item of a list."""
    text = _systemd_path(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(char.isspace() or char in "'\"\\;" for char in word) else text


def _is_in_tmp(path: str) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in ("/tmp", "/var/tmp"))  # noqa: S108 - only asks


# --- Kubernetes ------------------------------------------------------------------------------------------------------

#: What quotes a word of the commands in comments.
_SHELL = {"shell": shlex.quote}


def kubernetes(installation: Installation) -> str:
    """Return the CronJob: one run at a time, never a second try of a run, the next one comes by itself."""
    rhythm, _ = _rhythm(installation.minutes)
    words = _pod_words(installation)
    return printed("crawler.ops", "cronjob.yaml.j2", _SHELL, it=installation, rhythm=rhythm, words=words, grace=30)


def kubernetes_workers(installation: Installation) -> str:
    """Return the Deployment of a fleet's workers, and in comments what has their number follow what is due."""
    words, grace = _pod_words(installation), installation.stop_seconds
    return printed("crawler.ops", "workers.yaml.j2", _SHELL, it=installation, words=words, grace=grace, query=DUE_QUERY)


def worker_manifests(installation: Installation) -> str:
    """Return the Deployment with what its pods use, as YAML documents."""
    return f"{kubernetes_workers(installation)}---\n{surroundings(installation)}"


def _pod_words(installation: Installation) -> list[str]:
    words = ["crawler"]
    if installation.config:
        words += ["--config", "/etc/crawler/crawler.toml"]
    if installation.database:
        words += ["--database", f"/var/lib/crawler/{PurePosixPath(installation.database).name}"]
    elif installation.option:
        words += ["--database", installation.option]
    return [*words, *installation.command]


# --- what a cluster needs beside the image ---------------------------------------------------------------------------


def manifests(installation: Installation) -> str:
    """Return all objects as YAML documents; raise UsageError for an uneven rhythm."""
    return f"{kubernetes(installation)}---\n{surroundings(installation)}"


def surroundings(installation: Installation) -> str:
    """Return what the CronJob uses: ConfigMap, volume, a place to ask from, and whom the pods may call."""
    data = f"/var/lib/crawler/{PurePosixPath(installation.database).name}" if installation.database else ""
    return printed("crawler.ops", "kubernetes.yaml.j2", {"block": block, **_SHELL}, it=installation, data=data)


def block(text: str) -> str:
    """Return *text* as the value of a key that is indented by two: readable, or quoted where YAML would change it."""
    lines = text.split("\n")
    is_plain = all(char.isprintable() or char == "\t" for line in lines for char in line)
    if not is_plain or lines[-1] or not text.strip() or text.endswith("\n\n") or not lines[0].strip():
        return quoted(text)
    return "|2\n" + "\n".join(f"    {line}" if line else "" for line in lines[:-1])
