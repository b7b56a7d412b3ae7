"""What a sentence of ours quotes of another program."""

from __future__ import annotations

from crawler.domain.text import one_line, visible_lines


def test_one_line() -> None:
    """Line breaks, controls, bidirectional marks and broken surrogates never reach a person or a database."""
    assert one_line("a\r\nb\u202ec\ud800d\tΩ 镜像") == "a b c d Ω 镜像"
    assert one_line("a\r\nb\x1b[31m\u202ec" + "x" * 999)[:12] == "a b [31m cxx"


def test_limit() -> None:
    """A long text is cut, and says so."""
    assert len(one_line("x" * 10_000)) == 300
    assert one_line("x" * 81, 80) == "x" * 79 + "…"
    assert one_line("x" * 80, 80) == "x" * 80


def test_lines() -> None:
    """Lines stay lines; what a terminal would obey inside them does not."""
    assert visible_lines("a\x1b[1m\nb\tc") == "a\\x1b[1m\nb\\tc"
