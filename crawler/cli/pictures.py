"""`--svg FILE`: the bars of the web page as a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.cli.context import CliContext
from crawler.cli.language import spoken
from crawler.errors import UsageError

if TYPE_CHECKING:
    from crawler.queries.history import HistoryRow


def write_svg(
    context: CliContext,
    path: Path,
    rows: Sequence[HistoryRow],
    title: str,
    *,
    now: datetime,
    kept_from: datetime | None,
    longest: timedelta | None = None,
) -> None:
    """
    Write the picture of *rows* up to *now* into the file at *path*, and say so; nothing where there are no rows.

    It begins at *kept_from*, before which the history was pruned, at the earliest.
    Raises UsageError where it cannot be written.
    """
    from crawler.web.history_picture import history_picture

    if not rows:
        return
    zone = context.history_settings().timezone
    drawn = history_picture(rows, title, now=now, zone=zone, language=spoken(), longest=longest, kept_from=kept_from)
    try:
        path.write_text(drawn, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"{path} cannot be written: {exc.strerror}.") from exc
    context.say(f"The picture is in {path}.")
