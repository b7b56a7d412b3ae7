"""One run: what to ask, asking, judging, recording, and the order of these steps."""

from __future__ import annotations
