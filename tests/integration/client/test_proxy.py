"""Calls through a real forward proxy: tunnels and plain requests, a password, a private CA, and each way of failing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crawler.client.api import ApiClient, NetworkFailure
from crawler.client.api_options import Endpoint
from crawler.client.cancellation import CancelScope
from crawler.client.responses import Answer, Refusal, read_answer
from crawler.domain.proxies import parse_proxy
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, EmulatorOptions, run_in_thread
from tests.support.fake_time import FakeTime
from tests.support.fetch_bench import fetch_options
from tests.support.proxy import forward_proxy, port_of
from tests.support.tls import make_tls
from tests.support.worlds import make_timeline

pytestmark = pytest.mark.asyncio(loop_scope="function")

HOST = "api.example.invalid"
LOGIN = "crawler:correct-horse"


@asynccontextmanager
async def client_of(url: str, proxy: str, timeout: float = 20, **more: str) -> AsyncIterator[ApiClient]:
    endpoint = Endpoint(
        url=url,
        public_key=EXAMPLE_PUBLIC_KEY,
        private_key=EXAMPLE_PRIVATE_KEY,
        headers={"channel-key": "the-channel"},
        proxy=parse_proxy(proxy),
        ca_file=more.get("ca_file"),
    )
    async with ApiClient(endpoint, fetch_options(timeout_seconds=timeout), timing=FakeTime().timing()) as client:
        yield client


async def call(client: ApiClient) -> Answer:
    return await client.attempt(client.form("GetRegion"), CancelScope(monotonic=client.timing.monotonic))


async def failure(url: str, proxy: str, timeout: float = 20) -> NetworkFailure:
    async with client_of(url, proxy, timeout) as client:
        with pytest.raises(NetworkFailure) as caught:
            await call(client)
    assert "correct-horse" not in f"{caught.value}"
    return caught.value


async def test_tunnel(tmp_path: Path) -> None:
    """An https endpoint is asked through one tunnel, by its private CA; the proxy sees its password and no key."""
    tls, authority = make_tls(tmp_path, [HOST])
    with (
        run_in_thread(make_timeline(), EmulatorOptions(ssl_context=tls)) as cloud,
        forward_proxy(names={HOST: port_of(cloud.url)}, login=LOGIN) as proxy,
    ):
        async with client_of(f"https://{HOST}/", proxy.url_with_login, ca_file=str(authority)) as client:
            answers = [await call(client) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert proxy.targets == [f"CONNECT {HOST}:443"]
    assert [word for word in ("channel", "Signature", EXAMPLE_PUBLIC_KEY) if word in proxy.requests[0]] == []
    assert len(cloud.log) == 3


async def test_plain_requests() -> None:
    """An http endpoint is asked by its whole URL, with the password beside it."""
    with (
        run_in_thread(make_timeline()) as cloud,
        forward_proxy(names={HOST: port_of(cloud.url)}, login=LOGIN) as proxy,
    ):
        async with client_of(f"http://{HOST}/", proxy.url_with_login) as client:
            answer = await call(client)

    assert answer.status == 200
    assert proxy.targets == [f"POST http://{HOST}/"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_password(scheme: str) -> None:
    """A missing or wrong password is said with the proxy's name; no second try might lock the user out."""
    with forward_proxy(login=LOGIN) as proxy:
        missing = await failure(f"{scheme}://{HOST}/", proxy.url)
        wrong = await failure(f"{scheme}://{HOST}/", proxy.url_with_login.replace("correct", "incorrect"))

    assert f"the proxy {proxy.url} wants a user and a password (HTTP 407)" in str(missing)
    assert str(wrong) == f"the proxy {proxy.url} refused the user and password (HTTP 407)"
    for refusal in (missing.refusal(), wrong.refusal()):
        assert (refusal.failure_class, refusal.is_network) == ("defect", True)


async def test_refused_tunnel() -> None:
    """A proxy that lets nobody through to the host is told so, and one that cannot reach it is tried again."""
    with forward_proxy() as proxy:
        unreachable = await failure(f"https://{HOST}/", proxy.url)
        proxy.refuse = 403
        forbidden = await failure(f"https://{HOST}/", proxy.url)

    assert str(forbidden) == f"the proxy {proxy.url} does not let connections to {HOST} through (HTTP 403 No)"
    assert str(unreachable) == f"the proxy {proxy.url} cannot reach {HOST} (HTTP 502 Bad Gateway)"
    assert [one.refusal().failure_class for one in (forbidden, unreachable)] == ["defect", "transient"]


async def test_page_of_the_proxy() -> None:
    """What may be the proxy's own page is told with its name, and without the password that it repeats."""
    with forward_proxy(login=LOGIN) as proxy:
        proxy.refuse, proxy.page = 503, lambda head: f"no way: {head}"
        async with client_of(f"http://{HOST}/", proxy.url_with_login) as client:
            refusal = read_answer(await call(client), "GetRegion")

    assert isinstance(refusal, Refusal)
    assert refusal.failure_class == "transient"
    assert refusal.message.endswith(f"(it came through the proxy {proxy.url})")
    assert "Y3Jhd2xlcjpjb3JyZWN0LWhvcnNl" not in refusal.message


async def test_dead_proxy() -> None:
    """A proxy that nobody serves, or whose name nobody knows, is named."""
    with forward_proxy() as proxy:
        url = proxy.url
    dead = await failure(f"https://{HOST}/", url)
    unknown = await failure(f"https://{HOST}/", "http://crawler:correct-horse@proxy.invalid:3128")

    assert str(dead).startswith(f"the proxy {url} cannot be reached: Connect")
    assert str(unknown) == "the name of the proxy http://proxy.invalid:3128 cannot be resolved"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_slow_proxy(scheme: str) -> None:
    """A proxy that does not answer in time is named, and leaves no connection behind."""
    with forward_proxy() as proxy:
        proxy.hang = True
        slow = await failure(f"{scheme}://{HOST}/", proxy.url, timeout=0.2)
        await asyncio.sleep(0)

    assert str(slow) == f"no complete answer within 0.2 s through the proxy {proxy.url}"


async def test_untrusted_inside_the_tunnel(tmp_path: Path) -> None:
    """A certificate that is not trusted is the endpoint's, with a word on proxies that open what is encrypted."""
    tls, _ = make_tls(tmp_path, [HOST])
    with (
        run_in_thread(make_timeline(), EmulatorOptions(ssl_context=tls)) as cloud,
        forward_proxy(names={HOST: port_of(cloud.url)}) as proxy,
    ):
        said = str(await failure(f"https://{HOST}/", proxy.url))

    assert said.startswith(f"the certificate of {HOST} is not trusted: ")
    assert "`ca_file` has to name its certificates" in said
