"""Which runs lie in a span of trouble: what pruning must not tear apart."""

from __future__ import annotations

import pytest

from crawler.db.pruning import _holds_any, _Span


@pytest.mark.parametrize(
    ("kept", "is_covering"), [([], False), ([3, 7], False), ([3], False), ([4], True), ([2, 6, 9], True), ([7], False)]
)
def test_runs_in_a_span(kept: list[int], is_covering: bool) -> None:
    """A span is of the runs from its first on and before its end."""
    assert _holds_any(kept, _Span(1, 1, first=4, end=7)) == is_covering
