"""
The group `crawler` and the table of its commands; a command's module is imported when it is called, never for `--help`.

Also the one place where errors become sentences and exit codes: a command raises, or returns its `ExitCode`.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem, shell_complete

from crawler import __version__
from crawler.cli.context import CliContext
from crawler.cli.language import language_of, speak, speaking, tr
from crawler.cli.logs import set_up_logging
from crawler.cli.options import OneOf
from crawler.domain.text import visible
from crawler.errors import EXIT_CODE_HELP, CrawlerError, ExitCode, OutputLost, exhausted, is_exhaustion

if TYPE_CHECKING:
    from crawler.domain.subscriptions import Language

#: What a name that somebody gave can be the reason of.
_ABOUT_A_NAME = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EROFS)


class Entry(NamedTuple):
    """Where a command lives, and its line in the help."""

    module: str
    attribute: str
    help: str
    topic: str


_CRAWL, _ASK, _OPERATE, _TRY = "Crawl", "Ask the history", "Set up and operate", "Try it"

#: Every command, in the order of the help.
COMMANDS: dict[str, Entry] = {
    "run": Entry("crawler.cli.run", "run", "One scheduled run: discover, ask, compare, record.", _CRAWL),
    "worker": Entry("crawler.cli.worker", "worker", "One process of a fleet: accounts shared by hosts.", _CRAWL),
    "images": Entry("crawler.cli.images", "images", "What is, or was, available, with the state of knowledge.", _ASK),
    "inventory": Entry(
        "crawler.cli.inventory", "inventory", "The same of any kind: machine types, versions, groups.", _ASK
    ),
    "matrix": Entry("crawler.cli.matrix", "matrix", "Images by machine and Kubernetes version.", _ASK),
    "history": Entry("crawler.cli.history", "history", "Every interval of an image, everywhere, with gaps.", _ASK),
    "changes": Entry("crawler.cli.changes", "changes", "What changed, oldest first.", _ASK),
    "diff": Entry("crawler.cli.diff", "diff", "Two moments side by side.", _ASK),
    "compare": Entry("crawler.cli.compare", "compare", "Two zones side by side, by image name.", _ASK),
    "where": Entry("crawler.cli.where", "where", "One image name over all zones; a roll-out at a glance.", _ASK),
    "resolve": Entry("crawler.cli.resolve", "resolve", "The image id to use now, for scripts.", _ASK),
    "check": Entry("crawler.cli.check", "check", "A policy gate: required images, pinned ids.", _ASK),
    "pins": Entry("crawler.cli.pins", "pins", "Every id that somebody depends on, worst first.", _ASK),
    "status": Entry("crawler.cli.status", "status", "Freshness and outcome of every target.", _ASK),
    "runs": Entry("crawler.cli.runs", "runs", "The ledger of runs; `runs show N` tells one.", _ASK),
    "explain": Entry("crawler.cli.explain", "explain", "The two answers behind a change.", _ASK),
    "publish": Entry(
        "crawler.cli.publish", "publish", "A folder of ids, feeds, changes and pages for any web server.", _ASK
    ),
    "serve": Entry("crawler.cli.serve", "serve", "Serve the web page, live from the history.", _ASK),
    "holds": Entry("crawler.cli.holds", "holds", "Withdrawals not believed yet: list, accept, reject.", _OPERATE),
    "revoke": Entry("crawler.cli.revoke", "revoke", "Revoke an image that is not to be used.", _OPERATE),
    "unrevoke": Entry("crawler.cli.revoke", "unrevoke", "Take back that an image was revoked.", _OPERATE),
    "report": Entry("crawler.cli.report", "report", "What reports say, and what is on its way to whom.", _OPERATE),
    "init": Entry("crawler.cli.init", "init", "Write a starter crawler.toml from the environment.", _OPERATE),
    "config": Entry("crawler.cli.config", "config", "Check the configuration, or show it.", _OPERATE),
    "doctor": Entry("crawler.cli.doctor", "doctor", "What is wrong with this installation, and the fix.", _OPERATE),
    "schedule": Entry("crawler.cli.schedule", "schedule", "Files for cron, systemd, Kubernetes and workers.", _OPERATE),
    "fleet": Entry("crawler.cli.fleet", "fleet", "The workers: how they are; drain, resume, evict.", _OPERATE),
    "replay": Entry("crawler.cli.replay", "replay", "Judge the kept answers again, and compare.", _OPERATE),
    "db": Entry("crawler.cli.db", "db", "The database: upgrade, back up, restore, check, prune.", _OPERATE),
    "account": Entry("crawler.cli.account", "account", "Give an account of the history another name.", _OPERATE),
    "completion": Entry("crawler.cli.completion", "completion", "Print the shell's completion script.", _OPERATE),
    "demo": Entry("crawler.cli.demo", "demo", "See it work in a minute, offline.", _TRY),
    "emulate": Entry("crawler.cli.emulate", "emulate", "Serve an emulated cloud on this machine.", _TRY),
}

_WIDTH = max(len(str(int(code))) for code in EXIT_CODE_HELP)
EPILOGUE = "\b\nExit codes:\n" + "\n".join(f"  {int(code):>{_WIDTH}}  {text}" for code, text in EXIT_CODE_HELP.items())


class LazyGroup(click.Group):
    """A group whose commands are a table of names; each is imported when called."""

    entries: dict[str, Entry] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; give None where there is none of that name, or its module is not installed."""
        entry = self.entries.get(cmd_name)
        if entry is None or util.find_spec(entry.module) is None:
            return None
        command: click.Command = getattr(import_module(entry.module), entry.attribute)
        _accept_globals(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may be meant."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            return name, command, args[1:]
        if name in self.entries:
            raise click.UsageError(f"{name!r} is not part of this installation.", ctx)
        if name.startswith("-"):
            raise click.NoSuchOption(name, ctx=ctx)
        from crawler.domain.suggest import did_you_mean

        raise click.UsageError(f"No such command {name!r}{did_you_mean(name, self.entries)}", ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the global options; say of another one where it belongs."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            name = next((word for word in words if word in self.entries), None)
            command = self.get_command(ctx, name) if name else None
            taken = command.params if command else []
            if name is None or not any(exc.option_name in (*one.opts, *one.secondary_opts) for one in taken):
                raise
            told = f"{exc.option_name} belongs behind the command: `{ctx.command_path} {name} {exc.option_name} …`."
            raise click.UsageError(told, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table by topic, importing nothing."""
        topics: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.entries.items():
            topics.setdefault(entry.topic, []).append((name, entry.help))
        for topic, rows in topics.items():
            with formatter.section(topic):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names from the table, importing nothing."""
        names = [
            CompletionItem(name, help=entry.help) for name, entry in self.entries.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; leave the process with the exit code, unless *standalone_mode* is off."""
        context = extra.setdefault("obj", CliContext())
        words = list(sys.argv[1:] if args is None else args)
        name = prog_name or "crawler"
        instruction = os.environ.get(complete_var or "_CRAWLER_COMPLETE")
        if instruction:
            sys.exit(shell_complete(self, {}, name, complete_var or "_CRAWLER_COMPLETE", instruction))
        extra.pop("windows_expand_args", None)

        def call() -> Any:
            with self.make_context(name, words, **extra) as ctx:
                return self.invoke(ctx)

        if not standalone_mode:
            return call()
        with speaking(language_of(context.environ, sys.stderr.encoding)):
            sys.exit(guarded(call, context))


def guarded(call: Callable[[], Any], context: CliContext) -> int:
    """Call; turn what it returns or raises into an exit code, and errors into one sentence each on stderr."""
    try:
        code = call()
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        code = exc.exit_code
    except click.ClickException as exc:
        _show_usage(exc, context)
        code = ExitCode.USAGE
    except CrawlerError as exc:
        if not exc.was_told:
            context.say(f"Error: {exc}", level="error")
        code = exc.exit_code
    except (KeyboardInterrupt, click.Abort):
        context.say("Interrupted.", level="error")
        code = 130
    except BrokenPipeError:
        code = ExitCode.DONE
    except Exception as exc:  # noqa: BLE001 - the last line of defence: one sentence, never a traceback unasked
        code = _internal(exc, context)
    with suppress(BrokenPipeError, OutputLost):  # else Python tries once more at its end, and gives 120
        sys.stdout.flush()
    return int(code) if isinstance(code, int) else int(ExitCode.DONE)


def _show_usage(exc: click.ClickException, context: CliContext) -> None:
    if isinstance(exc, click.exceptions.NoArgsIsHelpError) and context.log_format == "text":
        click.echo(exc.format_message(), file=sys.stderr)
        return
    if context.log_format == "json":
        context.say(exc.format_message(), level="error")
        return
    ctx = exc.ctx if isinstance(exc, click.UsageError) else None
    if ctx is not None:
        click.echo(tr(ctx.get_usage()), file=sys.stderr)
        click.echo(tr(f"Try '{ctx.command_path} --help' for help.") + "\n", file=sys.stderr)
    click.echo(tr(f"Error: {exc.format_message()}"), file=sys.stderr)


def _internal(exc: Exception, context: CliContext) -> ExitCode:
    if is_exhaustion(exc):
        context.say(f"Error: {exhausted()}", level="error")
        return ExitCode.USAGE
    if isinstance(exc, UnicodeEncodeError) and exc.encoding == sys.getfilesystemencoding() != "utf-8":
        context.say(
            f"Error: a file's name has characters that this locale ({exc.encoding}) lacks; set LC_ALL=C.UTF-8",
            level="error",
        )
        return ExitCode.USAGE
    if isinstance(exc, OSError) and exc.errno in _ABOUT_A_NAME and exc.filename is not None:
        context.say(f"Error: {exc.filename}: {exc.strerror}", level="error")
        return ExitCode.USAGE
    if isinstance(exc, FileNotFoundError) and _is_nowhere():
        context.say("Error: the present folder is not there any more; change into another", level="error")
        return ExitCode.USAGE
    first = visible(next(iter(str(exc).splitlines()), ""))
    how = "" if context.verbosity >= 2 else "; -vv shows where"
    context.say(f"Error: internal error ({type(exc).__name__}: {first}){how}", level="error")
    if context.verbosity >= 2:
        context.say("".join(traceback.format_exception(exc)).rstrip(), level="error")
    return ExitCode.INTERNAL


def _is_nowhere() -> bool:
    """Return whether the present folder was removed."""
    try:
        os.getcwd()  # noqa: PTH109 - to see whether it raises
    except FileNotFoundError:
        return True
    return False


# --- global options --------------------------------------------------------------------------------------------------


def _config(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(CliContext).config_path = value


def _database(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(CliContext).database = value


def _louder(ctx: click.Context, _: click.Parameter, value: int) -> None:
    ctx.ensure_object(CliContext).verbosity += value
    _logging(ctx)


def _quieter(ctx: click.Context, _: click.Parameter, value: int) -> None:
    ctx.ensure_object(CliContext).verbosity -= value
    _logging(ctx)


def _log_format(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(CliContext).log_format = "json" if value == "json" else "text"
        _logging(ctx)


def _language(ctx: click.Context, _: click.Parameter, value: Language | None) -> None:
    if value is not None:
        speak(value)


def _logging(ctx: click.Context) -> None:
    if not ctx.resilient_parsing:
        context = ctx.ensure_object(CliContext)
        set_up_logging(context.verbosity, context.log_format)


def global_options(*, hidden: bool = False) -> list[click.Option]:
    """Make the global options; hidden copies let them stand after the command as well."""
    common: MutableMapping[str, Any] = {"expose_value": False, "is_eager": True, "hidden": hidden}
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            callback=_config,
            help="The configuration [default: $CRAWLER_CONFIG, ./crawler.toml, the user's configuration folder].",
            **common,
        ),
        click.Option(
            ["--database"],
            metavar="URL-OR-PATH",
            callback=_database,
            help="The history's database, instead of the configuration's.",
            **common,
        ),
        click.Option(["-v", "--verbose"], count=True, callback=_louder, help="Say more; -vv says all.", **common),
        click.Option(["-q", "--quiet"], count=True, callback=_quieter, help="Say less; -qq only errors.", **common),
        click.Option(
            ["--log-format"],
            type=OneOf(["text", "json"]),
            callback=_log_format,
            help="The format of the messages on stderr [default: text].",
            **common,
        ),
        click.Option(
            ["--language"],
            type=OneOf(["en", "zh"]),
            callback=_language,
            help="The language of tables and sentences [default: that of the locale, else en].",
            **common,
        ),
    ]


def _accept_globals(command: click.Command) -> None:
    """Let the global options stand after *command* too, where it has no option of that name itself."""
    taken = {name for parameter in command.params for name in parameter.opts}
    command.params.extend(option for option in global_options(hidden=True) if not taken.intersection(option.opts))
    if isinstance(command, click.Group):
        for child in command.commands.values():
            _accept_globals(child)


@click.group(
    "crawler",
    cls=LazyGroup,
    params=global_options(),
    epilog=EPILOGUE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "--version", prog_name="crawler", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """
    Keep the availability history of node images on clouds that speak the UCloud API.

    Results go to stdout, messages to stderr. Try `crawler demo`; begin with `crawler init`, then `crawler run`.
    """
    ctx.ensure_object(CliContext)
    _logging(ctx)
