"""Pages as HTML: the templates, and what they may call. Pure."""

from __future__ import annotations

from functools import cache

import jinja2
from markupsafe import Markup

from crawler.domain.text import plain
from crawler.web.bars import HATCH, rectangles, ticks

#: What a page may load, from its own place alone, and nothing else.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'"
)
#: Letters of a name that a page shows: names may differ in their last ones alone.
LONG_NAME = 160
#: The lines between the days of a bar of `coverage_page.DAYS` days.
_DAY_LINES = Markup(
    '<defs><pattern id="days" width=".01111111" height="1" patternContentUnits="objectBoundingBox">'
    '<rect class="day-line" width=".0016" height="1"/></pattern></defs>'
)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crawler.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    environment.filters["percent"] = _percent
    environment.globals.update(long_name=LONG_NAME)
    environment.globals.update(rectangles=rectangles, ticks=ticks, hatch=HATCH + _DAY_LINES, policy=POLICY)
    return environment


def _percent(share: float) -> str:
    """Return a share of a hundred; one hundred only where nothing is missing."""
    return "100 %" if share >= 100 else f"{min(share, 99.99):.2f} %"


class Query(dict[str, str]):
    """What was asked, in which templates find an empty text for what was not."""

    def __missing__(self, name: str) -> str:
        """Return an empty text."""
        return ""


def rendered(template: str, **context: object) -> str:
    """Return a page of a *template*."""
    return _environment().get_template(f"{template}.html.j2").render(**context)
