"""
A seeded model world, an oracle that knows what could be known of it, and the real pipeline between them.

`python -m tests.simulation --help` runs any number of seeds and replays one of them with a trace.
"""

from __future__ import annotations
