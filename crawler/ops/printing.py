"""Files that the program prints, from templates: INI, YAML and TOML that people read and keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crawler.domain.text import quoted


def printed(package: str, template: str, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """
    Return *template* of *package*'s templates with *values*, which it quotes by *filters*.

    The filter `text` is there always: a JSON string is one of YAML and, but for DEL, of TOML.
    """
    import jinja2  # not needed to offer a command

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=False,  # noqa: S701 - none of these is HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"text": quoted, **filters}
    return environment.get_template(template).render(values)
