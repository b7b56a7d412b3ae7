"""Where the pages are, as relative URLs: the same from a folder of files and from a server, under any address. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from crawler.domain.subscriptions import Language
from crawler.web.slugs import link, slug

#: The folder of the Chinese pages; the English ones stand at the top.
CHINESE_FOLDER = "zh/"
_NAVIGATION = (("", "overview"), ("now", "now"), ("changes", "changes"), ("coverage", "coverage"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The way from one page to the others."""

    #: The path of the page they stand on, without its language: ``, `now`, `names/ubuntu-20.04`, `changes/2026-11-23`.
    here: str
    language: Language
    #: A server answers; else the pages are files.
    is_live: bool
    #: The kind that the pages are about; empty: the one that they are about as a rule.
    kind: str = ""

    def to(self, page: str = "", fragment: str = "", /, **query: object) -> str:
        """Return the relative URL of a *page*; what is empty of the *query* is left out."""
        return self._from_top(self._top + page, fragment, query, self.kind)

    def of_kind(self, kind: str) -> str:
        """Return the relative URL of this page about another *kind*; where there may be none, of what is available."""
        page = self.here if "/" not in self.here else "now"
        return self._from_top(self._folder(self.language, kind) + page, "", {}, kind)

    def name(self, image_name: str, /, **query: object) -> str:
        """Return the relative URL of the page of an image's name; empty where a name has none."""
        part = slug(image_name)
        return self.to(f"names/{part}", **query) if part else ""

    def here_with(self, fragment: str = "", /, **query: object) -> str:
        """Return the relative URL of this page with another *query*."""
        return self.to(self.here, fragment, **query)

    def asset(self, name: str) -> str:
        """Return the relative URL of a style sheet or script."""
        return self._up() + f"assets/{name}"

    def data(self, path: str) -> str:
        """Return the relative URL of a document below `v1/`."""
        return self._up() + link(path)

    def in_language(self, language: Language, /, **query: object) -> str:
        """Return the relative URL of this page in another language."""
        return self._from_top(self._folder(language, self.kind) + self.here, "", query, self.kind)

    @property
    def path(self) -> str:
        """Return the path of this page below the top: of its file, where the pages are files."""
        return self._top + self._file(self.here)

    @property
    def _top(self) -> str:
        return self._folder(self.language, self.kind)

    def _from_top(self, page: str, fragment: str, query: dict[str, object], kind: str) -> str:
        query = {"kind": kind, **query} if self.is_live else query
        folder, _, name = page.rpartition("/")
        target = self._up() + link(f"{folder}/{self._file(name)}" if folder else self._file(name))
        asked = urlencode({key: value for key, value in query.items() if value not in (None, "")})
        return (target or "./") + (f"?{asked}" if asked else "") + (f"#{fragment}" if fragment else "")

    def _up(self) -> str:
        return "../" * (self._top + self.here).count("/")

    def _file(self, name: str) -> str:
        if self.is_live:
            return name
        return f"{name or 'index'}.html" if not name.endswith("/") else f"{name}index.html"

    def _folder(self, language: Language, kind: str) -> str:
        of_kind = f"{kind}/" if kind and not self.is_live else ""
        return (CHINESE_FOLDER if language == "zh" else "") + of_kind


def navigation(*, is_private: bool) -> Sequence[tuple[str, str]]:
    """Return the pages to which every page links, each with the key of its word."""
    return (*_NAVIGATION, ("pins", "pins")) if is_private else _NAVIGATION
