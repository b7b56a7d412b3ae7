"""
The cloud that the measurements ask: a process of its own, so cheap that it is never what is measured.

Speaks the three actions over HTTP or TLS with bodies written beforehand. What it offers follows from `Offer` alone, so
that a design in SQL can be fed the same. `python -m tests.benchmarks.load_server OFFER [CERTIFICATE KEY]` prints its
port; a line of JSON on stdin is answered by one: `{"churn": n}` changes one image in each of the first n targets,
`{}` tells how many requests and connections there were since the last time, and when the requests came.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

#: Zones of one region.
ZONES = 4
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b"X-UCLOUD-REQUEST-UUID: 7d3c8a1e-0000\r\nContent-Length: %d\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the cloud has: every zone lists the same names under ids of its own, and each project has one image more."""

    projects: int = 10
    zones: int = 45
    images: int = 100

    @property
    def targets(self) -> int:
        """Count the places to ask."""
        return self.projects * self.zones

    def places(self) -> list[tuple[str, str]]:
        """Return region and zone of each zone."""
        return [
            (f"r{number // ZONES:04}", f"r{number // ZONES:04}-{number % ZONES + 1:02}") for number in range(self.zones)
        ]

    def project_ids(self) -> list[str]:
        """Return the ids of the projects."""
        return [f"org-{number}" for number in range(self.projects)]

    def sets(self, project: str, zone: str, *, churned: int = 0) -> dict[str, list[dict[str, Any]]]:
        """Return what a target lists; *churned*: how often its own image was replaced."""
        public = [
            _record(f"uimage-{zone}-{number:03}", f"Ubuntu 22.04 64位 {number:03}") for number in range(self.images - 1)
        ]
        own = _record(f"uimage-{project}-{zone}-{churned}", "golden")
        return {"ImageSet": public, "CustomImageSet": [own]}

    def body(self, project: str, zone: str, *, churned: int = 0) -> bytes:
        """Return the answer of a target."""
        sets = self.sets(project, zone, churned=churned)
        return _encode({"RetCode": 0, "Action": "DescribeUK8SImageResponse", "Message": "", **sets})


def _record(image_id: str, name: str) -> dict[str, Any]:
    """Return an image as the API has described it since 2026."""
    return {
        "ImageId": image_id,
        "ImageName": name,
        "NotSupportGPU": False,
        "OsType": "Linux",
        "OsName": "Ubuntu 22.04 64位",
        "Features": ["NetEnhanced", "HotPlug", "CloudInit"],
        "ImageSize": 40,
        "IntegratedSoftware": "",
        "SupportedGPUTypes": ["V100", "T4", "A100"],
    }


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


# --- the serving process ---------------------------------------------------------------------------------------------


@dataclass
class _Cloud:
    offer: Offer
    churned: dict[tuple[str, str], int] = field(default_factory=dict)
    arrivals: list[float] = field(default_factory=list)
    connections: int = 0
    answers: dict[tuple[str, str, str], bytes] = field(default_factory=dict)

    def answer(self, form: bytes) -> bytes:
        params = dict(part.split("=", 1) for part in form.decode().split("&"))
        key = (params["Action"], unquote_plus(params.get("ProjectId", "")), unquote_plus(params.get("Zone", "")))
        found = self.answers.get(key)
        if found is None:
            found = self.answers[key] = self._write(*key)
        return found

    def _write(self, action: str, project: str, zone: str) -> bytes:
        if action == "GetRegion":
            rows = [
                {"RegionId": n, "RegionName": region, "IsDefault": n == 1, "Region": region, "Zone": name}
                for n, (region, name) in enumerate(self.offer.places(), start=1)
            ]
            body = _encode({"RetCode": 0, "Action": "GetRegionResponse", "Regions": rows})
        elif action == "GetProjectList":
            ids = self.offer.project_ids()
            projects = [{"ProjectId": name, "ProjectName": name, "IsDefault": name == ids[0]} for name in ids]
            body = _encode(
                {"RetCode": 0, "Action": "GetProjectListResponse", "ProjectCount": len(ids), "ProjectSet": projects}
            )
        else:
            body = self.offer.body(project, zone, churned=self.churned.get((project, zone), 0))
        return HEAD % len(body) + body

    def warm(self) -> None:
        """Write every answer, so that none is written while somebody measures."""
        for project in self.offer.project_ids():
            for _, zone in self.offer.places():
                self.answer(f"Action=DescribeUK8SImage&ProjectId={project}&Zone={zone}".encode())

    def churn(self, targets: int) -> None:
        """Replace the own image of so many targets."""
        everywhere = [(project, zone) for _, zone in self.offer.places() for project in self.offer.project_ids()]
        for project, zone in everywhere[:targets]:
            self.churned[project, zone] = self.churned.get((project, zone), 0) + 1
            self.answers.pop(("DescribeUK8SImage", project, zone), None)
        self.warm()

    def tally(self) -> dict[str, Any]:
        """Tell what came since the last time."""
        told = {"requests": len(self.arrivals), "connections": self.connections, "arrivals": list(self.arrivals)}
        self.arrivals.clear()
        self.connections = 0
        return told


class _Connection(asyncio.Protocol):
    """One connection: reads forms, however they are cut, and answers them in turn."""

    def __init__(self, cloud: _Cloud) -> None:
        self._cloud = cloud
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._cloud.connections += 1

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while True:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            start = self._buffer.lower().find(b"content-length:", 0, head) + 15
            if start < 15:
                # no body (wrk's warm-up, a curious browser)
                self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                self._buffer = self._buffer[head + 4 :]
                continue
            end = head + 4 + int(self._buffer[start : self._buffer.find(b"\r\n", start)])
            if len(self._buffer) < end:
                return
            form = self._buffer[head + 4 : end]
            self._buffer = self._buffer[end:]
            self._cloud.arrivals.append(time.monotonic())
            self._transport.write(self._cloud.answer(form))


async def _serve(offer: Offer, tls: ssl.SSLContext | None) -> None:
    cloud = _Cloud(offer)
    cloud.warm()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(cloud), "127.0.0.1", 0, ssl=tls, backlog=512)
    _say(server.sockets[0].getsockname()[1])
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        wish = json.loads(line)
        if "churn" in wish:
            cloud.churn(wish["churn"])
        _say(cloud.tally())
    server.close()


def _say(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


# --- for the measuring process ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the server saw."""

    requests: int
    connections: int
    #: When each request was complete, in seconds of the machine's monotonic clock.
    arrivals: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LoadServer:
    """A serving process."""

    url: str
    process: subprocess.Popen[str]

    def tally(self, **wish: Any) -> Tally:
        """Do what is wished and give what was seen since the last time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        return Tally(requests=told["requests"], connections=told["connections"], arrivals=tuple(told["arrivals"]))

    def churn(self, targets: int) -> None:
        """Replace one image in each of so many targets."""
        self.tally(churn=targets)


@contextmanager
def load_server(offer: Offer, *, certificate: Path | None = None, key: Path | None = None) -> Iterator[LoadServer]:
    """Serve *offer* on loopback for a `with` block."""
    command = [sys.executable, "-m", "tests.benchmarks.load_server", json.dumps(asdict(offer))]
    if certificate is not None:
        command += [str(certificate), str(key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())
        scheme = "https" if certificate is not None else "http"
        try:
            yield LoadServer(f"{scheme}://127.0.0.1:{port}/", process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _main(arguments: list[str]) -> None:
    tls = None
    if len(arguments) > 1:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments[1], arguments[2])
    asyncio.run(_serve(Offer(**json.loads(arguments[0])), tls))


if __name__ == "__main__":
    _main(sys.argv[1:])
