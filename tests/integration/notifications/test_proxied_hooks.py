"""Webhooks, robots and the ping through a real forward proxy, and to servers with a private CA."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from crawler.domain.proxies import parse_proxy
from crawler.notifications.channels.base import DeliveryRefusal, TransportError
from crawler.notifications.channels.feishu import FeishuChannel
from crawler.notifications.channels.http import HookOptions
from crawler.notifications.channels.webhook import WebhookChannel
from crawler.ops.healthcheck_ping import Switch
from tests.support.eventful import NOW, digest_of, eventful
from tests.support.hooks import PATH, Reply, hook_server
from tests.support.proxy import forward_proxy
from tests.support.tls import make_tls

HOST = "hooks.example.invalid"
LOGIN = "crawler:correct-horse"


def webhook(proxy: str, scheme: str = "https", ca_file: Path | None = None, seconds: float = 20) -> WebhookChannel:
    return WebhookChannel(options(proxy, scheme, ca_file, seconds), lambda: NOW)


def options(proxy: str, scheme: str = "https", ca_file: Path | None = None, seconds: float = 20) -> HookOptions:
    return HookOptions(
        name=f"webhook:{HOST}",
        url=f"{scheme}://{HOST}{PATH}",
        secret="signing-secret",
        proxy=parse_proxy(proxy),
        ca_file=ca_file,
        timeout_seconds=seconds,
    )


def send(channel: WebhookChannel | FeishuChannel) -> None:
    async def go() -> None:
        content = channel.compose(digest_of(eventful()), ("x",), NOW).content
        async with channel.session() as session:
            await session.send(content, channel.addresses(()))

    asyncio.run(go())


def refusal(channel: WebhookChannel) -> DeliveryRefusal:
    with pytest.raises(TransportError) as caught:
        send(channel)
    assert "correct-horse" not in str(caught.value)
    assert "secret-path" not in str(caught.value)
    return caught.value.refusal


def test_tunnel(tmp_path: Path) -> None:
    """A webhook with a private CA is told through a tunnel, of which the proxy sees the host alone."""
    tls, authority = make_tls(tmp_path, [HOST])
    with hook_server(tls) as hooks, forward_proxy(names={HOST: hooks.port}, login=LOGIN) as proxy:
        send(webhook(proxy.url_with_login, ca_file=authority))

    assert proxy.targets == [f"CONNECT {HOST}:443"]
    assert hooks.calls[0].headers["Content-Type"] == "application/json; charset=utf-8"
    assert "Proxy-Authorization" not in hooks.calls[0].headers


def test_robot_without_tls() -> None:
    """A robot over http is told by its whole URL."""
    with hook_server() as hooks, forward_proxy(names={HOST: hooks.port}) as proxy:
        hooks.answer = lambda _: Reply(body='{"code": 0}')
        send(FeishuChannel(options(proxy.url, "http"), lambda: NOW))

    assert proxy.targets == [f"POST http://{HOST}{PATH}"]


def test_refusals(tmp_path: Path) -> None:
    """What the proxy refuses is told with its name; only a wrong password is wrong for good."""
    with forward_proxy(login=LOGIN) as proxy:
        wrong = [refusal(webhook(proxy.url, scheme)) for scheme in ("http", "https")]
        unreachable = refusal(webhook(proxy.url_with_login))
        proxy.hang = True
        slow = refusal(webhook(proxy.url, seconds=0.2))
    dead = refusal(webhook(proxy.url))

    for one in wrong:
        assert f"webhook:{HOST}: the proxy {proxy.url} wants a user and a password" in one.message
        assert one.permanent
    assert f"the proxy {proxy.url} cannot reach {HOST} (HTTP 502" in unreachable.message
    assert slow.message == f"webhook:{HOST} did not answer in 0.2 s through the proxy {proxy.url}"
    assert dead.message.startswith(f"webhook:{HOST}: the proxy {proxy.url} cannot be reached: ")
    assert [one.permanent for one in (unreachable, slow, dead)] == [False] * 3


def test_refusal_that_repeats_the_password() -> None:
    """A proxy that repeats its password, or the header that holds it, as its reason is told without them."""
    with forward_proxy(login=LOGIN) as proxy:
        proxy.refuse = 403
        proxy.reason = lambda head: f"No {head.split('Basic ')[1].split()[0]} is {LOGIN}"
        said = refusal(webhook(proxy.url_with_login)).message

    assert said.endswith(f"connections to {HOST} through (HTTP 403 No [redacted] is crawler:[redacted])")


def test_ping(tmp_path: Path) -> None:
    """The dead man's switch is called through the proxy, over TLS by a tunnel; the password is the proxy's alone."""
    tls, authority = make_tls(tmp_path, [HOST])
    with (
        hook_server(tls) as secure,
        hook_server() as plain,
        forward_proxy(names={HOST: secure.port, f"plain.{HOST}": plain.port}, login=LOGIN) as proxy,
    ):
        way = parse_proxy(proxy.url_with_login)
        Switch(f"https://{HOST}/token", proxy=way, ca_file=authority).end(is_done=True, body="{}")
        Switch(f"http://plain.{HOST}/token", proxy=way).end(is_done=False, body="{}")

    assert proxy.targets == [f"CONNECT {HOST}:443", f"POST http://plain.{HOST}/token/fail"]
    assert [call.path for call in (*secure.calls, *plain.calls)] == ["/token", "/token/fail"]
    assert "Proxy-Authorization" not in secure.calls[0].headers


def test_ping_that_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    """A ping that the proxy refuses, or that cannot reach it, is a line with the proxy's name and without a secret."""
    caplog.set_level(logging.INFO, "crawler.ops.healthcheck_ping")
    with forward_proxy(login=LOGIN) as proxy:
        for scheme in ("http", "https"):
            Switch(f"{scheme}://{HOST}/token", proxy=parse_proxy(proxy.url)).end(is_done=True, body="{}")
    Switch(f"https://{HOST}/token", proxy=parse_proxy(proxy.url_with_login)).end(is_done=True, body="{}")

    assert caplog.messages == [
        f"the ping done was not taken through the proxy {proxy.url}: {reason}"
        for reason in ("HTTP 407", "no tunnel, HTTP 407", "ConnectionRefusedError")
    ]


def test_ping_goes_by_no_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the configuration did not say is not taken from the process's variables behind its back."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with hook_server() as hooks:
        Switch(hooks.url).end(is_done=True, body="{}")

    assert len(hooks.calls) == 1
