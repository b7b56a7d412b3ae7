"""Asks the emulator without any client of ours: aiohttp and the signature spelled out."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import aiohttp

from crawler.emulator import EmulatorServer
from tests.support.worlds import form, sign

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Raw(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: Any
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document


async def post(server: EmulatorServer, params: dict[str, str], headers: dict[str, str] | None = None) -> Raw:
    """Send *params* as they are in a POST form."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url, data=form(params), headers={**FORM, **(headers or {})}) as response,
    ):
        return Raw(response.status, response.headers, await response.read())


async def ask(server: EmulatorServer, action: str = "DescribeUK8SImage", **params: str) -> dict[str, Any]:
    """Send a signed request and give its JSON."""
    return (await post(server, sign({"Action": action, **params}))).document


async def images(server: EmulatorServer, zone: str = "hk-02", **params: str) -> dict[str, Any]:
    """Ask for the images of a zone."""
    return await ask(server, Region=zone.rpartition("-")[0], Zone=zone, **params)
