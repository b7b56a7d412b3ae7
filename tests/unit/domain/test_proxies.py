"""Which proxy leads where: settings, the environment's variables, exceptions, and what is never shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crawler.domain.proxies import Proxy, exceptions_of, is_passing, parse_proxy, proxy_for

URL = "https://api.example.com/"
PROXY = "http://proxy.example.com:3128"


def found(url: str = URL, setting: str = "env", no_proxy: tuple[str, ...] = (), **environ: str) -> str | None:
    proxy = proxy_for(url, setting, no_proxy, environ)
    return proxy.url if proxy is not None else None


def test_parts() -> None:
    """User and password are unescaped, the port has a default, and neither text nor repr shows the password."""
    proxy = parse_proxy("http://me:p%40ss%3Aword@proxy.example.com")

    assert (proxy.url, proxy.username, proxy.password) == ("http://proxy.example.com:80", "me", "p@ss:word")
    assert proxy.authorization == {"Proxy-Authorization": "Basic bWU6cEBzczp3b3Jk"}
    assert "p@ss" not in f"{proxy} {proxy!r}"
    assert parse_proxy("http://[2001:db8::1]:3128/").url == "http://[2001:db8::1]:3128"
    assert parse_proxy(PROXY).authorization == {}
    assert parse_proxy("http://me@proxy.example.com").password == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("proxy.example.com:3128", "must be http://host:port"),
        ("https://me:secret12@proxy.example.com", "spoken to over https"),
        ("socks5://proxy.example.com:1080", "spoken to over socks5"),
        ("http://", "must be"),
        ("http://proxy.example.com:http", "must be"),
        ("http://proxy.example.com:3128/path", "must be"),
        ("http://me:se cret@proxy.example.com", "spaces"),
        ("http://m%3Ae:secret12@proxy.example.com", "colon"),
    ],
)
def test_what_is_no_proxy(text: str, words: str) -> None:
    """What is written wrongly is said in a sentence that does not quote it."""
    with pytest.raises(ValueError, match=words) as caught:
        parse_proxy(text)
    assert "secret" not in str(caught.value)


def test_authorization_goes_to_the_proxy_alone() -> None:
    """Through a tunnel only the CONNECT carries the password; else the request does, for there is no other."""
    proxy = Proxy(url=PROXY, username="me", password="hunter2")

    assert (proxy.headers(URL), proxy.tunnel_headers(URL)) == ({}, proxy.authorization)
    assert (proxy.headers("http://a/"), proxy.tunnel_headers("http://a/")) == (proxy.authorization, {})


def test_environment() -> None:
    """The variable goes by the scheme; the lower-case form wins, also when it is empty; a scheme may be missing."""
    assert found(HTTPS_PROXY=PROXY) == PROXY
    assert found(HTTP_PROXY=PROXY) is None
    assert found("http://api.example.com/", HTTP_PROXY="proxy.example.com:3128") == PROXY
    assert found(https_proxy=PROXY, HTTPS_PROXY="http://other.example.com:1") == PROXY
    assert found(https_proxy="", HTTPS_PROXY=PROXY) is None
    assert found(https_proxy=" ", HTTPS_PROXY=PROXY) is None
    assert str(proxy_for(URL, "env", (), {"HTTPS_PROXY": PROXY})) == f"{PROXY} ($HTTPS_PROXY)"
    with pytest.raises(ValueError, match="whose HTTPS_PROXY names a proxy that is spoken to over socks5h"):
        found(HTTPS_PROXY="socks5h://me:secret12@proxy.example.com")


def test_settings() -> None:
    """An address in the configuration wins over the environment, and `none` is direct."""
    assert found(setting="http://mine.example.com:8080", HTTPS_PROXY=PROXY) == "http://mine.example.com:8080"
    assert found(setting="none", HTTPS_PROXY=PROXY) is None


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_loopback(host: str) -> None:
    """What is on this machine is never asked through a proxy, whatever says so."""
    assert found(f"http://{host}:8080/", HTTP_PROXY=PROXY) is None
    assert found(f"http://{host}:8080/", setting=PROXY) is None


@pytest.mark.parametrize(
    ("url", "exceptions", "is_direct"),
    [
        (URL, "*", True),
        (URL, "api.example.com", True),
        (URL, "example.com", True),
        (URL, ".Example.com", True),
        (URL, "*.example.com", True),
        (URL, "ample.com", False),
        (URL, "other.com, api.example.com:443", True),
        (URL, "api.example.com:8443", False),
        ("https://api.example.com:8443/", "api.example.com:8443", True),
        ("https://10.1.2.3/", "10.0.0.0/8", True),
        ("https://10.1.2.3/", "10.1.2.3:443 x", True),
        ("https://11.1.2.3/", "10.0.0.0/8", False),
        ("https://[2001:db8::1]/", "2001:db8::/32", True),
        ("https://[2001:db8::1]/", "[2001:db8::1]:443", True),
        ("https://[2001:db8::1]/", "[2001:db8::2]", False),
        (URL, ", ,", False),
    ],
)
def test_exceptions(url: str, exceptions: str, is_direct: bool) -> None:
    """NO_PROXY and `no_proxy` name hosts, what is below them, addresses and ranges, perhaps with a port."""
    expected = None if is_direct else PROXY

    assert found(url, HTTPS_PROXY=PROXY, NO_PROXY=exceptions) == expected
    assert found(url, setting=PROXY, no_proxy=tuple(exceptions.replace(",", " ").split())) == expected


def test_what_a_proxy_s_own_answer_means() -> None:
    """Each way of refusing is told with the proxy, the variable that names it, and the host beyond."""
    proxy = parse_proxy(PROXY)
    named = replace(proxy, variable="HTTPS_PROXY", username="me", password="correct-horse")

    assert (str(proxy), str(named)) == (PROXY, f"{PROXY} ($HTTPS_PROXY)")
    assert proxy.refusal(407, "Auth", "api") == (
        f"the proxy {PROXY} wants a user and a password (HTTP 407): give it as http://user:password@host:port"
    )
    assert named.refusal(407, "Auth", "api") == f"the proxy {named} refused the user and password (HTTP 407)"
    assert proxy.refusal(500, "", "api") == f"the proxy {PROXY} cannot reach api (HTTP 500)"
    assert proxy.refusal(499, "No", "api") == f"the proxy {PROXY} does not let connections to api through (HTTP 499 No)"
    assert proxy.unreachable("refused") == f"the proxy {PROXY} cannot be reached: refused"


def test_default_ports_in_exceptions() -> None:
    """An exception with a port holds for an address that states none by its scheme's."""
    assert found("https://api.example.com/", PROXY, ("api.example.com:443",)) is None
    assert found("http://api.example.com/", PROXY, ("api.example.com:80",)) is None
    assert found("http://api.example.com/", PROXY, ("api.example.com:443",)) == PROXY
    assert found("ws://api.example.com/", PROXY, ("api.example.com:0",)) is None


@pytest.mark.parametrize(
    ("status", "passing"), [(407, False), (408, True), (428, False), (429, True), (499, False), (500, True)]
)
def test_what_another_try_may_help(status: int, passing: bool) -> None:
    """A proxy that fails or is busy may do it later; one that refuses does not."""
    assert is_passing(status) is passing


def test_default_port_of_a_proxy() -> None:
    """A proxy without a port has that of HTTP; its host stands without brackets; no user needs no secret."""
    proxy = Proxy(url="http://[2001:db8::1]")

    assert (proxy.host, proxy.port, proxy.username, proxy.password, proxy.variable) == ("2001:db8::1", 80, "", "", "")
    assert (proxy.authorization, proxy.secrets) == ({}, ("",))
    assert Proxy(url=PROXY).port == 3128
    assert Proxy(url=PROXY, username="me", password="p").secrets == ("p", "bWU6cA==")


FORM = "must be http://host:port or http://user:password@host:port, or env or none"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("http://[::1", FORM),
        ("http://a:port", FORM),
        ("ftp://a", FORM),
        ("http://a/x", FORM),
        ("http://a?x", FORM),
        ("http://a#x", FORM),
        ("http://", FORM),
        *(
            (f"{s}://a:1", f"names a proxy that is spoken to over {s}, which is not supported; it {FORM}")
            for s in ("https", "socks", "socks4", "socks4a", "socks5", "socks5h")
        ),
        ("http://u:a b@a", "must not contain spaces or control characters"),
        ("http://u:a\x1b@a", "must not contain spaces or control characters"),
        ("http://u%3Ab:c@a", "names a user with a colon, which no proxy can tell from the password"),
    ],
)
def test_sentences(text: str, sentence: str) -> None:
    """What is no proxy is refused in these words."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_proxy(text)
    assert str(caught.value) == sentence


def test_sentence_of_a_variable() -> None:
    """What is wrong with a variable is said with its name, and the proxy knows which one named it."""
    with pytest.raises(
        ValueError, match=r"^takes the proxy from the environment, whose https_proxy must be http://host"
    ):
        found(https_proxy="http://a/x")
    proxy = proxy_for(URL, "env", (), {"https_proxy": PROXY})
    assert proxy is not None
    assert proxy.variable == "https_proxy"


def test_lists_of_exceptions() -> None:
    """Exceptions stand between commas and blanks; nothing said is no exception."""
    assert exceptions_of({"NO_PROXY": "a.com, b.com c.com,,d.com"}) == ["a.com", "b.com", "c.com", "d.com"]
    assert exceptions_of({"no_proxy": " ", "NO_PROXY": "a.com"}) == []
    assert exceptions_of({}) == []


@pytest.mark.parametrize(
    ("url", "exception", "is_direct"),
    [
        ("https://api.example.com./", "example.com", True),
        ("https://example.com./", "example.com.", True),
        ("https://API.example.com/", " Api.Example.com ", True),
        ("https://api.example.com/", "*", True),
        ("https://[2001:db8::1]/", "[2001:db8::1]", True),
        ("https://[2001:db8::1]/", "[2001:db8::1]:80", False),
        ("https://10.1.2.3/", "10.1.2.9/8", True),
        ("https://api.example.com/", "*.", False),
        ("https://api.example.com/", "example.com:x", False),
        ("https://api.example.com/", "example.com:0443", True),
        ("https://api.example.com/", "example.com:44³", False),
        ("https://api.example.com/", "example.com:443:443", False),
        ("https://[2001:db8::1]/", "[2001:db8::1]:443:443", False),
        ("https://api.example.com/", "*:443", True),
        ("https://api.example.com/", "*:80", False),
        ("https://api.example.com/", ":443", False),
        ("https://[2001:db8::443]/", "2001:db8::443", True),
        ("https://10.1.2.3/", "10.0.0.0/8:443", True),
        ("https://10.1.2.3/", "10.0.0.0/8:80", False),
    ],
)
def test_exceptions_of_a_setting(url: str, exception: str, is_direct: bool) -> None:
    """An exception fits in any case, with dots at its ends or none, and as a range whatever its host bits."""
    assert (found(url, PROXY, (exception,)) is None) is is_direct
