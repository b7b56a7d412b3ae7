"""After a whole run: what is news for the person who reads cron's mails, and the metrics file."""

from __future__ import annotations

import logging
import os
import tempfile
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from crawler.config.models import Settings
from crawler.crawl.run import RunResult
from crawler.db.engine import Fence, read
from crawler.ops import facts
from crawler.ops.conditions import compare, paragraph
from crawler.ops.metrics import exposition
from crawler.ops.remembering import Remembered

logger = logging.getLogger(__name__)


def news_of(settings: Settings, engine: Engine, fence: Fence, result: RunResult, *, now: datetime) -> str:
    """
    Give what began, changed or ended with a run, as one paragraph (empty: nothing), and remember that it was told.

    Raises DatabaseUnavailable.
    """
    summary = result.summary
    with read(engine) as conn:
        remembered = Remembered(conn, settings, result)
    news, standing = compare(remembered.before, remembered.found, at=summary.finished_at or now)
    remembered.keep(engine, fence, standing)
    return paragraph(summary, news, zone=settings.timezone)


def write_metrics(settings: Settings, engine: Engine, result: RunResult, *, now: datetime) -> None:
    """Write the metrics file, where there is to be one; raises DatabaseUnavailable."""
    if settings.metrics_textfile is None:
        return
    with read(engine) as conn:
        gauges = facts.gauges(conn, now=now, rates=result.rates)
    try:
        write_atomically(settings.metrics_textfile, exposition(result.summary, int(result.exit_code), gauges))
    except OSError as exc:
        # No mail for each run: the metrics that stand still raise an alert, and the doctor says why.
        logger.info("the metrics cannot be written to %s: %s", settings.metrics_textfile, exc.strerror)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that others read at any time: they see the old text or the new one, never a part."""
    # The collector takes *.prom alone, so what is half written must not end in that.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
