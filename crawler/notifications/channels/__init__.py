"""One module per channel, and what they share."""

from __future__ import annotations
