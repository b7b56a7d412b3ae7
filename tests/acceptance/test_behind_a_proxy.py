"""From nothing to the first mail through a proxy with a password, with the page's own commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, EmulatorOptions, run_in_thread
from tests.support.examples import from_nothing
from tests.support.proxy import forward_proxy, port_of
from tests.support.smtp import mail_server
from tests.support.terminals import bash
from tests.support.tls import make_tls
from tests.support.worlds import make_timeline

COMMAND = re.compile(r"^(?:export|crawler|\(umask) ", re.MULTILINE)
HOST = "api.ucloud.cn"
LOGIN = "crawler:correct-horse"


def last_line(script: str, folder: Path, **environ: str) -> str:
    """Run *script* as a new user would, and give what it printed last; the password must not be seen."""
    done = bash(script, folder, **environ)
    assert "correct-horse" not in done.stdout + done.stderr
    return done.stdout.splitlines()[-1] if done.stdout else ""


def test_first_mail_through_a_proxy(tmp_path: Path) -> None:
    """Six commands set it up; the line that they print then mails a change, with nothing in its environment."""
    (script,) = {block for block in from_nothing() if "HTTPS_PROXY" in block and "asks" in block}
    assert len(COMMAND.findall(script)) == 6
    tls, authority = make_tls(tmp_path, [HOST])
    home = tmp_path / "home"
    home.mkdir()
    timeline = make_timeline(
        zones={"hk-02": {"uimage-old": "CentOS 7.6"}},
        steps=[{"add": {"hk-02": {"uimage-new": "Ubuntu 24.04"}}}],
    )
    with (
        run_in_thread(timeline, EmulatorOptions(ssl_context=tls)) as cloud,
        mail_server() as mails,
        forward_proxy(names={HOST: port_of(cloud.url)}, login=LOGIN) as proxy,
    ):
        script = script.replace("http://me:password@proxy.example.com:3128", proxy.url_with_login)
        script = script.replace("PUBLIC_KEY=…", f"PUBLIC_KEY={EXAMPLE_PUBLIC_KEY}")
        script = script.replace("PRIVATE_KEY=…", f"PRIVATE_KEY={EXAMPLE_PRIVATE_KEY}")
        server = f'host = "127.0.0.1", port = {mails.port}, security = "none"'
        script = script.replace('host = "mail.example.com"', server)
        line = last_line(script, home, SSL_CERT_FILE=str(authority))
        cloud.step = 2
        last_line(shlex.join(shlex.split(line)[5:]), home, SSL_CERT_FILE=str(authority))

    assert "uimage-new" in mails.mails[-1].text
    assert set(proxy.targets) == {f"CONNECT {HOST}:443"}
