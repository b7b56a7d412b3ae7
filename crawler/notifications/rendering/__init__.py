"""A digest in words and layouts. Pure."""

from __future__ import annotations
