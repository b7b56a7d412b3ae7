"""crawler: the availability history of node images on clouds that speak the UCloud API."""

from __future__ import annotations

__version__ = "0.1.0"
