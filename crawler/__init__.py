"""crawler: the availability history of node images on clouds that speak the UCloud API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawler.api import History

__version__ = "0.1.0"
__all__ = ["History", "__version__"]


def __getattr__(name: str) -> Any:
    """Load `History`, and the database with it, only for those who ask."""
    if name == "History":
        from crawler.api import History

        return History
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
