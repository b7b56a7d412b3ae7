"""
A stand-in for the UCloud API that needs no cloud: the actions, a scripted timeline, faults.

Part of the product: the demo runs on it, people try their configuration against it (`crawler emulate`), and the
tests speak to it over real sockets. `scenario.py` documents the file format, `server.py` is the server.
"""

from __future__ import annotations

from crawler.emulator.builtin import BUILTIN, demo, demo_path, image_history, region_history
from crawler.emulator.scenario import (
    EXAMPLE_PRIVATE_KEY,
    EXAMPLE_PUBLIC_KEY,
    QUIRKS,
    EmulatedAccount,
    EmulatedZone,
    Fault,
    ProjectRow,
    Timeline,
    World,
)
from crawler.emulator.scenario_loader import load_timeline, parse_timeline
from crawler.emulator.server import EmulatorOptions, EmulatorServer, LoggedRequest, run_in_thread

__all__ = [
    "BUILTIN",
    "EXAMPLE_PRIVATE_KEY",
    "EXAMPLE_PUBLIC_KEY",
    "QUIRKS",
    "EmulatedAccount",
    "EmulatedZone",
    "EmulatorOptions",
    "EmulatorServer",
    "Fault",
    "LoggedRequest",
    "ProjectRow",
    "Timeline",
    "World",
    "demo",
    "demo_path",
    "image_history",
    "load_timeline",
    "parse_timeline",
    "region_history",
    "run_in_thread",
]
