"""Reports: what changed, sent once, to the people who asked for it."""

from __future__ import annotations
