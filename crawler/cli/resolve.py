"""`crawler resolve`: the one image id to use now, for a person, Packer and Terraform."""

from __future__ import annotations

import io
import json
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import not_observed_since, require_records
from crawler.cli.options import DURATION, OneOf, target_options
from crawler.cli.output import json_line, write_out
from crawler.cli.selection import check_words, unheard
from crawler.config.textfiles import decoded
from crawler.domain.filters import Filters
from crawler.domain.text import visible
from crawler.errors import CrawlerError, ExitCode, NoAnswer, Revoked, UsageError

if TYPE_CHECKING:
    from crawler.queries.resolve import Resolved

#: What Terraform's query may say; the options of the same name win.
_TARGET_KEYS = ("account", "project", "region", "zone", "kind", "variant")
_KEYS = (*_TARGET_KEYS, "name", "image_set", "gpu", "max_age", "min_age")
#: How long a query on standard input is waited for: it is due at once, and a pipe that nobody feeds must not hang.
_WAIT_SECONDS = 10.0
#: … and where the options already say everything.
_SHORT_WAIT_SECONDS = 0.5
_LARGEST_QUERY = 1 << 20


@click.command()
@click.argument("source", required=False, metavar="[-]")
@target_options
@click.option(
    "--name", metavar="NAME", help="The image's name; case and spacing do not matter. A glob may fit one name."
)
@click.option("--image-set", metavar="GLOB", help="The image set [default: ImageSet; of kinds of machines Base].")
@click.option("--gpu", is_flag=True, help="Only images that support GPU.")
@click.option(
    "--max-age",
    type=DURATION,
    metavar="AGE",
    help="Refuse (8) when the last good observation is older, such as 6h [default: stale_after of the configuration].",
)
@click.option(
    "--min-age",
    type=DURATION,
    metavar="AGE",
    help="Only an image that has been there so long, such as 7d: the newest of these.",
)
@click.option(
    "-o",
    "--format",
    "fmt",
    type=OneOf(["id", "json", "jsonl", "csv", "packer", "terraform"]),
    default="id",
    show_default=True,
    help="packer: a JSON var file; terraform: the `external` data source's protocol; jsonl and csv: with - only.",
)
@pass_cli
def resolve(
    context: CliContext,
    source: str | None,
    selected: Filters,
    name: str | None,
    image_set: str | None,
    gpu: bool,
    max_age: timedelta | None,
    min_age: timedelta | None,
    fmt: str,
) -> ExitCode:
    """
    Print the id of the image to use now, by --zone and --name; with -, of every line `ZONE NAME` on standard input.

    Of several open images of the name it is the one that appeared last. Nothing is printed that the last good
    observation did not list: exit 1 when there is none, 7 when several fit, 8 when the knowledge is too old or missing.
    With - there is a row for each line, in their order; -o id prints an empty one where there is no id.
    """
    if source is not None:
        from crawler.cli.resolve_lines import FORMATS, print_answers

        if source != "-" or selected.zone or name or fmt not in FORMATS:
            raise UsageError(
                f"With - zones and names come from standard input, and -o is {', '.join(FORMATS)}: "
                "`crawler resolve - < lines`."
            )
        return print_answers(context, selected, image_set, gpu, max_age, min_age or timedelta(0), fmt)
    if fmt not in _SHAPES:
        raise UsageError(f"-o {fmt} is for many answers: `crawler resolve - -o {fmt}`.")
    query: Mapping[str, str] = {}
    if fmt == "terraform":
        query = read_query(sys.stdin, _SHORT_WAIT_SECONDS if selected.zone and name else _WAIT_SECONDS)
    selected = _with_query(selected, query)
    name = name or query.get("name")
    gpu = gpu or _is_true(query.get("gpu", "false"))
    if max_age is None and "max_age" in query:
        max_age = _duration("max_age", query["max_age"])
    if min_age is None and "min_age" in query:
        min_age = _duration("min_age", query["min_age"])
    if not selected.zone or not name:
        missing = " and ".join(word for word, value in (("--zone", selected.zone), ("--name", name)) if not value)
        raise UsageError(f"{missing} is missing: `crawler resolve --zone hk-02 --name 'Ubuntu 20.04'`.")
    try:
        wanted_set = image_set or query.get("image_set")
        found = _answer(context, selected, name, wanted_set, gpu, max_age, min_age or timedelta(0))
    except CrawlerError as exc:
        if fmt == "terraform":
            exc.args = ("; ".join(line.strip().rstrip(".") for line in str(exc).splitlines()) + ".",)
        raise
    write_out([_SHAPES[fmt](found)])
    return ExitCode.DONE


def _answer(
    context: CliContext,
    selected: Filters,
    name: str,
    image_set: str | None,
    gpu: bool,
    max_age: timedelta | None,
    min_age: timedelta,
) -> Resolved:
    from crawler.queries import resolve_lookup

    settings = context.history_settings()
    with context.history() as conn:
        now = context.now(conn, is_strict=True)
        require_records(conn)
        check_words(conn, selected, selected.of_images())
        filters = replace(selected, image_set=(image_set,) if image_set else ())
        try:
            found, last = resolve_lookup.resolve(
                conn,
                name,
                filters,
                gpu=gpu,
                now=now,
                stale_after=settings.stale_after,
                max_age=max_age,
                min_age=min_age,
                timezone=settings.timezone,
            )
        except Revoked:
            raise
        except NoAnswer as exc:
            # a set may be right, and empty as yet; it may be misspelt too
            for hint in unheard(conn, "image_set", (image_set,) if image_set else (), selected.of_images()):
                raise NoAnswer(f"{str(exc).rstrip('.')}: {hint}") from None
            raise
    if doubt := not_observed_since(found, last, settings.timezone):
        context.say(doubt, level="warning")
    return found


# --- the formats -----------------------------------------------------------------------------------------------------


def _flat(found: Resolved) -> str:
    """Write strings only, as Terraform's protocol and Packer's variables want them."""
    return json_line({key: str(value) for key, value in found.as_dict().items()}) + "\n"


_SHAPES: dict[str, Callable[[Resolved], str]] = {
    "id": lambda found: f"{visible(found.image_id)}\n",
    "json": lambda found: json_line(found.as_dict()) + "\n",
    "packer": _flat,
    "terraform": _flat,
}


# --- Terraform's query -----------------------------------------------------------------------------------------------


def read_query(stdin: IO[str] | None, seconds: float) -> dict[str, str]:
    """
    Read the query that Terraform writes to standard input; none from a terminal, a closed or an empty one.

    Waits at most *seconds* for it. Raises UsageError, in one sentence, for what is no query.
    """
    if stdin is None or stdin.closed or stdin.isatty():
        return {}
    try:
        text = _read(stdin, seconds).removeprefix("\ufeff")
    except OSError as exc:
        raise UsageError(f"The query on standard input cannot be read: {exc.strerror}.") from exc
    except ValueError as exc:
        raise UsageError(f"The query on standard input {exc}.") from None
    if not text.strip():
        return {}
    try:
        query = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(
            'The query on standard input is no JSON. Write an object as {"zone": "hk-02", "name": "Ubuntu 20.04"}.'
        ) from None
    if not isinstance(query, dict) or not all(isinstance(value, str) for value in query.values()):
        raise UsageError("The query on standard input must be a JSON object whose values are strings.")
    unknown = sorted(query.keys() - set(_KEYS))
    if unknown:
        from crawler.domain.suggest import did_you_mean

        told = ", ".join(f"{key!r}{did_you_mean(key, _KEYS).replace(';', ',').rstrip('?')}" for key in unknown)
        raise UsageError(f"The query has keys that mean nothing here: {told}. Known: {', '.join(_KEYS)}.")
    return {key: value for key, value in query.items() if value}


def _read(stdin: IO[str], seconds: float) -> str:
    """Read to the end, or until nothing came for *seconds*."""
    try:
        descriptor = stdin.fileno()
    except (io.UnsupportedOperation, ValueError):
        return stdin.read()
    pieces: list[bytes] = []
    deadline = time.monotonic() + seconds
    while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            break
        pieces.append(piece)
        if sum(map(len, pieces)) > _LARGEST_QUERY:
            raise UsageError("What stands on standard input is far too long for a query.")
    return decoded(b"".join(pieces))


def _with_query(selected: Filters, query: Mapping[str, str]) -> Filters:
    parts: dict[str, Any] = {
        part: (query[part],) for part in _TARGET_KEYS if part in query and not getattr(selected, part)
    }
    return replace(selected, **parts)


def _is_true(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.strip().lower() not in words:
        raise UsageError(f'gpu is {text!r} in the query; write "true" or "false".')
    return words[text.strip().lower()]


def _duration(key: str, text: str) -> timedelta:
    from crawler.domain.timefmt import parse_duration

    try:
        return parse_duration(text)
    except ValueError as exc:
        raise UsageError(f"{key}: {text!r} {exc}.") from None
