"""
`crawler init`: a starter configuration from what the environment and one look at the cloud tell.

The text of a starter `crawler.toml`. Pure: what the environment and the cloud told in, commented TOML out.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.calling import options, program
from crawler.cli.context import CliContext, pass_cli
from crawler.domain.models import DEFAULT_PROJECT, Place, Project
from crawler.domain.proxies import exceptions_of
from crawler.domain.staleness import STALE_AFTER
from crawler.domain.text import agreeing, counted, quoted, visible
from crawler.domain.timefmt import show_duration
from crawler.errors import CredentialsRefused, UsageError
from crawler.ops.printing import printed

if TYPE_CHECKING:
    from crawler.client.discovery import Discovery
    from crawler.config.models import AccountSettings, Settings

#: A look at the cloud is not worth more of a person's patience.
PATIENCE_SECONDS = 60.0
_KEYS = ("UCLOUD_PUBLIC_KEY", "UCLOUD_PRIVATE_KEY")


@click.command()
@click.option("--endpoint", metavar="URL", help="The brand's API [default: $UCLOUD_BASE_URL, or UCloud's].")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write [default: --config, or ./crawler.toml].",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME=VALUE",
    multiple=True,
    help="An extra header of every request, such as channel-key=…; ${NAME} and values that stand in the environment "
    "are written as references. Repeatable.",
)
@click.option(
    "--key-file",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the environment's private key into this file, for its owner alone, and name it in the configuration; "
    "header values and a proxy with a password from the environment go into files beside it.",
)
@pass_cli
def init(
    context: CliContext, endpoint: str | None, path: Path | None, headers: tuple[str, ...], key_file: Path | None
) -> None:
    """
    Write a commented starter crawler.toml.

    The keys come from UCLOUD_PUBLIC_KEY and UCLOUD_PRIVATE_KEY, or from the UCloud CLI's profile `default`; they are
    tried with one look at the cloud's regions and projects, and never written unless --key-file says where. cron,
    systemd and Kubernetes have none of your shell's variables. An existing file is never overwritten.
    """
    path = path or context.config_path or Path("crawler.toml")
    try:
        _refuse_existing(path, "--file")
    except UsageError as exc:
        # nobody is told to write over a key, or to write an empty one
        has_key = bool(context.environ.get(_KEYS[1]))
        if key_file is None or not path.is_file() or os.path.lexists(key_file) or not has_key:
            raise
        raise UsageError(f"{exc}\n{_by_hand(path, key_file)}") from None
    starter = _from_environment(context.environ, endpoint, _parse_headers(headers, context.environ))
    settings = _checked(starter, path, context.environ)
    kept = _kept_in_files(starter, settings, key_file, path, context.environ)
    for file in kept.files:
        _refuse_existing(file, "--key-file")
    if key_file is not None and path.absolute() in map(Path.absolute, kept.files):
        raise UsageError(f"{path} cannot hold the configuration and a secret; name another file with --key-file.")
    missing = [name for name in _KEYS if not context.environ.get(name)]
    has_keys = starter.profile is not None or not missing
    if has_keys:
        starter = _ask_cloud(context, starter, settings)
    else:
        unset = f"{' and '.join(missing)} {agreeing(len(missing), 'is', 'are')} not set"
        context.say(f"{unset}: the cloud is not asked, and the file is a template.")
    for file, text in kept.files.items():
        _write(file, f"{text}\n")
        context.say(f"Wrote {file}.")
    _write(path, render(kept.named_in(starter)))
    context.say(f"Wrote {path}.")
    is_found = str(path) == "crawler.toml" and not context.environ.get("CRAWLER_CONFIG")
    run = f"{program()}{options(None if is_found else path, context.database)} run"
    if not has_keys:
        context.say(f"Next: export {' '.join(f'{name}=…' for name in missing)}; {run}")
    else:
        context.say(f"Next: {run}")


def _refuse_existing(path: Path, option: str) -> None:
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists already and is left as it is; {option} names another.")
    if not path.parent.is_dir():
        raise UsageError(f"The folder {path.parent} does not exist: make it, or have {option} name another.")


def _by_hand(path: Path, key_file: Path) -> str:
    """Say how an existing configuration comes to have the private key in a file."""
    name = key_file.name if key_file.absolute().parent == path.absolute().parent else str(key_file.absolute())
    return "\n".join(
        (
            "To keep its key in a file, put this into the account of it, in the place of private_key:",
            f"  private_key_file = {quoted(name)}",
            "and the key into that file, which is for its owner alone:",
            f"  (umask 077; printenv UCLOUD_PRIVATE_KEY >{shlex.quote(str(key_file))})",
        )
    )


def _from_environment(environ: Mapping[str, str], endpoint: str | None, headers: Mapping[str, str]) -> Starter:
    from crawler.config.models import DEFAULT_ENDPOINT, DEFAULT_TIMEZONE
    from crawler.config.sources import plain_project, read_profile

    found: dict[str, str] = {}
    if not any(environ.get(name) for name in _KEYS):
        found = read_profile("default", environ, lambda _: None)
    project = environ.get("UCLOUD_PROJECT_ID") or found.get("project_id") or ""
    return Starter(
        endpoint=endpoint or environ.get("UCLOUD_BASE_URL") or found.get("base_url") or DEFAULT_ENDPOINT,
        profile="default" if found else None,
        project_id=plain_project(project),
        headers=headers,
        timezone=DEFAULT_TIMEZONE,
    )


def _parse_headers(words: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Read `NAME=VALUE`; a value that stands in the environment under UCLOUD_… or CRAWLER_… becomes a reference."""
    names = {value: name for name, value in environ.items() if value and name.startswith(("UCLOUD_", "CRAWLER_"))}
    headers = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name.strip()):
            raise click.BadParameter(f"{name!r} is not NAME=VALUE", param_hint="--header")
        literal = value if _is_reference(value) else value.replace("${", "$${")
        headers[name.strip()] = f"${{{names[value]}}}" if value in names else literal
    return headers


def _checked(starter: Starter, path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the text as a run would; raise ConfigurationError for an endpoint or header that would not do."""
    from crawler.config.loader import loads

    stand_ins = dict.fromkeys(_KEYS, "unset") if starter.profile is None else {}
    return loads(render(starter), stand_ins | {k: v for k, v in environ.items() if v}, path=path.absolute())


# --- secrets in files ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What goes from the environment into files and into the configuration, and how that says so."""

    #: The secrets, by the file that each is written into.
    files: Mapping[Path, str]
    #: What replaces the starter's fields of these names.
    fields: Mapping[str, Any]

    def named_in(self, starter: Starter) -> Starter:
        """Return *starter* with the files in the place of references to the environment."""
        return replace(starter, **self.fields)


def _kept_in_files(
    starter: Starter, settings: Settings, key_file: Path | None, path: Path, environ: Mapping[str, str]
) -> Kept:
    """Return what is kept for schedulers, which know nothing of this shell: secrets only where *key_file* is given."""
    files: dict[Path, str] = {}
    fields: dict[str, Any] = {}

    def keep(file: Path, text: str) -> str:
        if file in files:
            raise UsageError(f"{file} cannot hold two secrets; name another file with --key-file.")
        files[file] = text
        return file.name if file.absolute().parent == path.absolute().parent else str(file.absolute())

    if key_file is not None:
        missing = [name for name in _KEYS if not environ.get(name)]
        if missing:
            are = agreeing(len(missing), "is", "are")
            raise UsageError(
                f"--key-file keeps the keys of the environment, and {' and '.join(missing)} {are} not set: export both."
            )
        fields["key_file"] = keep(key_file, environ["UCLOUD_PRIVATE_KEY"].strip())
        fields["public_key"] = environ["UCLOUD_PUBLIC_KEY"].strip()
        values = settings.accounts[0].headers
        fields["headers"] = {
            (f"{name}_file" if _is_reference(text) else name): (
                keep(key_file.with_name(name.lower()), values[name]) if _is_reference(text) else text
            )
            for name, text in starter.headers.items()
        }
    proxy = settings.accounts[0].proxy
    if proxy is not None and (key_file is not None or not proxy.username):
        if key_file is not None and proxy.username:
            text = environ[proxy.variable]
            url = text if "://" in text else f"http://{text}"  # a variable may leave that out, a configuration not
            network: dict[str, Any] = {"proxy_file": keep(key_file.with_name("proxy.url"), url)}
        else:
            network = {"proxy": proxy.url}
        fields["network"] = network | {"no_proxy": exceptions_of(environ)}
    return Kept(files=files, fields=fields)


def _is_reference(text: str) -> bool:
    return text.startswith("${") and text.endswith("}")


# --- one look at the cloud -------------------------------------------------------------------------------------------


def _ask_cloud(context: CliContext, starter: Starter, settings: Settings) -> Starter:
    """Complete *starter* with what the cloud tells; raise CredentialsRefused when it does not know the keys."""
    for warning in settings.warnings:
        context.say(f"Warning: {warning}", level="warning")
    discovery = asyncio.run(_discover(context, settings.accounts[0]))
    if discovery.credential is not None:
        refusal = discovery.credential
        raise CredentialsRefused(
            f"{starter.endpoint} refused the credentials, so nothing is written. {visible(refusal.message)}"
            f"{_advice(refusal.ret_code, starter)}"
        )
    for problem in discovery.problems:
        context.say(f"Warning: {visible(problem)}", level="warning")
    told = replace(
        starter,
        projects=discovery.projects,
        places=discovery.places,
        projects_refused=discovery.projects_refused,
    )
    if discovery.projects_refused:
        known = starter.project_id or "default, which sends no ProjectId"
        context.say(
            f"The account may not list its projects ({visible(discovery.refusal)}): the file asks {known}. "
            "Name the project ids under `projects`."
        )
    found = [counted(len(told.places), "zone")] if told.places is not None else []
    found += [counted(len(told.projects), "project")] if told.projects is not None else []
    if found:
        context.say(f"{starter.endpoint} lists {' and '.join(found)}.")
    else:
        context.say(
            "The cloud told nothing, so the file is a template: check its endpoint, and that it can be reached."
        )
    return told


async def _discover(context: CliContext, account: AccountSettings) -> Discovery:
    from crawler.client.api_options import Timing
    from crawler.client.discovery import discover
    from crawler.crawl.run import connect

    timing = Timing(clock=context.clock)
    limits = replace(account.limits, attempts=2, timeout_seconds=PATIENCE_SECONDS / 2)
    async with connect(replace(account, limits=limits), timing) as client:
        return await discover(client, deadline=timing.monotonic() + PATIENCE_SECONDS, tolerated=account.tolerate)


def _advice(ret_code: int | None, starter: Starter) -> str:
    if ret_code != 174:
        return ""
    if starter.headers:
        return f"\nCheck the value of {', '.join(starter.headers)}, and the public key."
    return (
        "\nIf this brand shares its domain with others, it wants to know the channel: "
        "crawler init --header channel-key=… (ask the provider for the value); otherwise the public key is wrong."
    )


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists already and is left as it is.") from None
    except OSError as exc:
        raise UsageError(f"{path} cannot be written: {exc.strerror}.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


_WIDTH = 110
_MANY = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What a starter configuration says."""

    endpoint: str
    #: A profile of the UCloud CLI instead of keys from the environment.
    profile: str | None = None
    #: UCLOUD_PROJECT_ID, when it is set.
    project_id: str = ""
    #: Values as they stand in the file: references where the value is in the environment.
    headers: Mapping[str, str] = field(default_factory=dict)
    timezone: str
    #: None: not told by the cloud.
    projects: tuple[Project, ...] | None = None
    places: tuple[Place, ...] | None = None
    #: The file that holds the private key, as the configuration names it, and the public key that goes with it.
    key_file: str | None = None
    public_key: str = ""
    #: What `[network]` says.
    network: Mapping[str, Any] = field(default_factory=dict)
    #: The cloud answered that this key may not list projects.
    projects_refused: bool = False

    @property
    def watched_projects(self) -> list[str]:
        """Return the globs of projects: the configured one, no ProjectId where they may not be listed, or all."""
        if self.project_id:
            return [self.project_id]
        return [DEFAULT_PROJECT] if self.projects_refused else ["*"]


def render(starter: Starter) -> str:
    """Write the configuration, with what the cloud told as comments."""
    named: list[str] | None = None
    if starter.projects is not None:
        named = [f"{p.project_id} ({p.name})" if p.name else p.project_id for p in starter.projects]
    return printed(
        "crawler.cli",
        "crawler.toml.j2",
        {"listed": _listed},
        it=starter,
        stale_after=show_duration(STALE_AFTER),
        projects=named,
        regions=sorted({place.region for place in starter.places or ()}),
        zones=sorted({place.zone for place in starter.places or ()}),
    )


def _listed(items: list[str], noun: str) -> str:
    """Fold how many and which *items* there are into comment lines; nothing in them can end the comment."""
    more = f", and {len(items) - _MANY} more" if len(items) > _MANY else ""
    text = f"{counted(len(items), noun)}: {', '.join(items[:_MANY])}{more}"
    plain = "".join(char if char.isprintable() else " " for char in text)
    lines = textwrap.wrap(plain, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)
