"""The page that says what went wrong."""

from __future__ import annotations

from datetime import datetime

from crawler.web.links import Links, navigation
from crawler.web.pages import PageRequest, Pages
from crawler.web.rendering import rendered
from crawler.web.wording import wording


def error_page(pages: Pages, question: PageRequest, status: int, said: str, now: datetime) -> str:
    """Return a page that says what went wrong, in the look of the others, without a look at the history."""
    links = Links(here=question.page, language=question.language, is_live=pages.is_live)
    words = wording(question.language, pages.zone, now)
    if not said and status >= 500:
        said = words("try_again")
    return rendered(
        "error", t=words, links=links, title=words(f"error_{status}"), said=said,
        nav=navigation(is_private=question.is_private), feed="", command="", current="?", kinds=(), query={},
        is_private=question.is_private, may_sign_in=False, run=None, run_at="", zone=words.dates.zone_name(),
    )  # fmt: skip
