"""A word out of a list, as the options and arguments of all commands take it."""

from __future__ import annotations

from typing import Any

import click


class OneOf(click.Choice[str]):
    """One of some words; for another the nearest is named."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, or fail with one sentence."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as exc:
            from crawler.domain.suggest import did_you_mean

            hint = did_you_mean(str(value), self.choices)
            self.fail(f"{exc.message.removesuffix('.')}{hint}" if hint else exc.message, param, ctx)
