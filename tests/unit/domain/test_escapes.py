"""Texts for terminals, YAML and TOML."""

from __future__ import annotations

import json

import pytest

from crawler.domain.text import json_text, quoted


def test_json_on_a_terminal() -> None:
    """What a terminal would obey is escaped, and the JSON says the same."""
    value = {"a\x7f": "\x9b1m \u202e \ufeff ü 中"}
    text = json_text(json.dumps(value, ensure_ascii=False))

    assert json.loads(text) == value
    assert text == '{"a\\u007f": "\\u009b1m \\u202e \\ufeff ü 中"}'


@pytest.mark.parametrize(
    ("value", "text"),
    [("ü\x7f", '"ü\\u007f"'), (True, "true"), (7, "7"), (["a", "b"], '["a", "b"]'), ('"', '"\\""')],
)
def test_quoted(value: object, text: str) -> None:
    """A value stands in YAML and TOML as it stands in JSON, DEL escaped."""
    assert quoted(value) == text
