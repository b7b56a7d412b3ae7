"""`crawler doctor` names the proxy that an address is reached through, and says where the way ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crawler.emulator import EmulatorOptions, run_in_thread
from tests.acceptance.conftest import light as light
from tests.support.driving import Driver, account
from tests.support.hooks import hook_server
from tests.support.proxy import forward_proxy, port_of
from tests.support.tls import make_tls
from tests.support.worlds import make_timeline

HOST = "api.example.invalid"
HOOKS = "hooks.example.invalid"
LOGIN = "crawler:correct-horse"


def examined(driver: Driver, code: int = 0, **environ: str) -> dict[str, dict[str, Any]]:
    """Return the findings by check."""
    driver.now = datetime.now(UTC)
    text = driver.call("doctor", "--json", code=code, **environ).stdout
    assert "correct-horse" not in text
    return {finding["check"]: finding for finding in json.loads(text)["findings"]}


def hook(**more: str) -> dict[str, Any]:
    url = f"https://{HOOKS}/secret-path"
    return {"name": "team", "channel": "webhook", "url": url, "secret": "signing-secret", **more}


def test_the_way_is_named(light: Driver, tmp_path: Path) -> None:
    """API, webhook and ping through an authenticated proxy, with a private CA: each says which proxy it was."""
    tls, authority = make_tls(tmp_path, [HOST, HOOKS])
    with (
        run_in_thread(make_timeline(), EmulatorOptions(ssl_context=tls)) as cloud,
        hook_server(tls) as hooks,
        forward_proxy(names={HOST: port_of(cloud.url), HOOKS: hooks.port}, login=LOGIN) as proxy,
    ):
        network = {"ca_file": str(authority)}
        light.configure(account(f"https://{HOST}/"), network=network, reports=[hook()], ping=f"https://{HOOKS}/token")
        found = examined(light, HTTPS_PROXY=proxy.url_with_login)

    said = f"over TLS, its certificate is good, through the proxy {proxy.url} ($HTTPS_PROXY)"
    assert found["endpoint"]["message"] == f"https://{HOST}/ answers {said}"
    assert found["hook"]["message"] == found["ping"]["message"] == f"takes a connection {said}"
    assert hooks.calls == []


def test_where_it_ends(light: Driver) -> None:
    """A proxy that wants a password, that lets nobody through, and that is dead: the failure names it, with the fix."""
    with forward_proxy(login=LOGIN) as proxy:
        light.configure(account(f"https://{HOST}/"), network={"proxy": proxy.url}, reports=[hook()])
        locked = examined(light, code=1)
        proxy.login, proxy.refuse = "", 403
        refused = examined(light, code=1)
    dead = examined(light, code=1)

    for found, words in (
        (locked, f"the proxy {proxy.url} wants a user and a password (HTTP 407)"),
        (refused, f"the proxy {proxy.url} does not let connections to {{host}} through (HTTP 403"),
        (dead, f"the proxy {proxy.url} cannot be reached: "),
    ):
        assert words.format(host=HOST) in found["endpoint"]["message"]
        assert words.format(host=HOOKS) in found["hook"]["message"]
        assert found["endpoint"]["fix"] == found["hook"]["fix"]
        assert found["hook"]["fix"].startswith("check `proxy`: its host, port, user and password")


@pytest.mark.provokes("fail: check, problem", "takes a connection {protocol}")
def test_directly(light: Driver) -> None:
    """A webhook of this machine is reached directly, whatever the proxy; one that nobody serves is a failure."""
    with run_in_thread(make_timeline()) as cloud:
        with hook_server() as hooks:
            light.configure(account(cloud.url), network={"proxy": "http://127.0.0.1:9"}, reports=[hook(url=hooks.url)])
            assert examined(light)["hook"]["message"] == "takes a connection without TLS"
        assert examined(light, code=1)["hook"]["message"] == "127.0.0.1 cannot be reached: Connection refused"
