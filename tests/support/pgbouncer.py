"""The real PgBouncer in front of a test's PostgreSQL database, idle or with other clients at work."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.processes import until

_PROGRAM = "pgbouncer"


def _program() -> str:
    found = shutil.which(_PROGRAM, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("pgbouncer is not installed")
    return found


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def pgbouncer(url: str, mode: str, *, sessions: int = 20) -> Iterator[str]:
    """Put a PgBouncer with at most so many *sessions* before the database at *url* and give its URL."""
    program, server, port = _program(), make_url(url), _free_port()
    sockets = Path(str(server.query["host"]))
    folder = Path(tempfile.mkdtemp(prefix="crawler-pgbouncer-"))
    folder.chmod(0o755)
    ini = folder / "pgbouncer.ini"
    ini.write_text(
        f"[databases]\n* = host={sockets} user={server.username}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n"
        f"default_pool_size = {sessions}\nclient_login_timeout = 10\nquery_wait_timeout = 20\n"
    )
    # it refuses to be root; whoever the server's folder belongs to may connect
    become = ["-u", sockets.owner()] if os.geteuid() == 0 else []
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen([program, *become, str(ini)], stdout=said, stderr=subprocess.STDOUT)
    try:
        until(lambda: _is_listening(port, process))
        yield f"postgresql://{server.username}@127.0.0.1:{port}/{server.database}"
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _is_listening(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "pgbouncer ended"
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def other_clients(url: str, count: int) -> Iterator[None]:
    """Let *count* clients work through *url*, a short transaction after the other, for a `with` block."""
    stop = threading.Event()

    def work(connection: psycopg.Connection) -> None:
        while not stop.is_set():
            with connection.transaction():
                connection.execute("SELECT pg_sleep(0.002)", prepare=False)

    with ExitStack() as stack:
        connections = [stack.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(count)]
        threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
