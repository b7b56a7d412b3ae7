"""A real mail server package, where it is installed: Exim on loopback, which puts what it accepts into a folder."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from tests.support.processes import until
from tests.support.tls import make_tls

_CONFIGURATION = """
primary_hostname = mail.example.com
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
exim_user = {user}
exim_group = {group}
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts = *
tls_certificate = {folder}/server.pem
tls_privatekey = {folder}/key.pem
acl_smtp_rcpt = recipients
host_lookup =
rfc1413_hosts =
begin acl
recipients:
  require encrypted = *
  deny local_parts = gone
       message = no such user
  accept
begin routers
everything:
  driver = accept
  transport = folder
begin transports
folder:
  driver = appendfile
  directory = {folder}/mail
  user = {user}
  group = {group}
  envelope_to_add
"""


@dataclass(frozen=True, kw_only=True)
class Exim:
    """The server, and what it delivered."""

    port: int
    certificate: Path
    folder: Path

    def mails(self, count: int) -> list[EmailMessage]:
        """Wait until so many mails are delivered, and give them, oldest first."""
        until(lambda: len(list((self.folder / "mail").glob("q*"))) >= count)
        files = sorted((self.folder / "mail").glob("q*"), key=lambda path: path.stat().st_mtime_ns)
        return [message_from_bytes(path.read_bytes(), policy=default) for path in files]


@contextmanager
def exim() -> Iterator[Exim]:
    """Start the server on a free port; skip the test where Exim is not installed."""
    program = shutil.which("exim4") or shutil.which("exim4", path="/usr/sbin")
    if program is None:
        pytest.skip("exim4 is not installed")
    account = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    with tempfile.TemporaryDirectory(prefix="exim-") as name:
        folder = Path(name)
        folder.chmod(0o777)  # Exim works as somebody without rights
        _, certificate = make_tls(folder)
        for inner in ("spool", "mail"):
            (folder / inner).mkdir()
            os.chown(folder / inner, account.pw_uid, account.pw_gid)
        (folder / "key.pem").chmod(0o644)
        port = _free_port()
        configuration = folder / "exim.conf"
        configuration.write_text(
            _CONFIGURATION.format(folder=folder, port=port, user=account.pw_uid, group=account.pw_gid)
        )
        daemon = subprocess.Popen(
            [program, "-C", configuration, "-bdf"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            until(lambda: daemon.poll() is not None or _listens(port))
            if daemon.poll() is not None:
                assert daemon.stdout is not None
                pytest.fail(f"exim4 did not start: {daemon.stdout.read().decode()}")
            yield Exim(port=port, certificate=certificate, folder=folder)
        finally:
            daemon.terminate()
            daemon.communicate(timeout=30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
