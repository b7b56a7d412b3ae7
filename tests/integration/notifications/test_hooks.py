"""The channels `webhook`, `feishu` and `apprise` against real HTTP servers: signed, judged rightly, and discreet."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from standardwebhooks import Webhook, WebhookVerificationError

from crawler.emulator import run_in_thread
from crawler.notifications.channels.apprise import AppriseChannel, shortened
from crawler.notifications.channels.base import Channel, DeliveryRefusal, Message, TransportError
from crawler.notifications.channels.feishu import LARGEST_BODY, FeishuChannel, escaped
from crawler.notifications.channels.http import HookOptions
from crawler.notifications.channels.webhook import MOST_CHANGES, WebhookChannel
from crawler.notifications.models import Digest
from tests.support.driving import Driver, account
from tests.support.eventful import NOW, digest_of, eventful
from tests.support.hooks import PATH, Call, HookServer, Reply, hook_server
from tests.support.reporting import Story
from tests.support.tls import make_tls
from tests.support.worlds import make_timeline

SECRET = "correct-horse"
#: Apprise imports it while it is there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def options(server: HookServer, **more: Any) -> HookOptions:
    defaults: dict[str, Any] = {"name": "webhook:127.0.0.1", "url": server.url, "secret": SECRET, "timeout_seconds": 5}
    return HookOptions(**defaults | more)


def webhook(server: HookServer, **more: Any) -> WebhookChannel:
    return WebhookChannel(options(server, **more), lambda: NOW)


def feishu(server: HookServer, **more: Any) -> FeishuChannel:
    return FeishuChannel(options(server, name="feishu:127.0.0.1", **more), lambda: NOW)


def apprise(server: HookServer, **more: Any) -> AppriseChannel:
    url = server.url.replace("http://", "json://")
    return AppriseChannel(options(server, **{"name": "apprise:json", "url": url} | more))


def letter(channel: Channel, digest: Digest | None = None, **more: Any) -> Message:
    return channel.compose(digest or digest_of(eventful()), ("x",), NOW, **more)


def send(channel: Channel, content: bytes | None = None) -> Mapping[str, DeliveryRefusal]:
    async def go() -> Mapping[str, DeliveryRefusal]:
        async with channel.session() as session:
            return await session.send(content or letter(channel).content, channel.addresses(()))

    return asyncio.run(go())


def refusal(channel: Channel) -> DeliveryRefusal:
    with pytest.raises(TransportError) as caught:
        send(channel)
    found = caught.value.refusal
    assert SECRET not in found.message
    assert "secret-path" not in found.message
    assert "\n" not in found.message
    return found


def crowded() -> Digest:
    """Return a digest of very many different changes with long names."""
    story = Story(zones=40)
    for number in range(1200):
        story.change(
            "withdrawn",
            f"uimage-{number:04}",
            f"映像 {number} *_[x](y) " + "长" * 40,
            where=f"zone-{number % 40 + 1:02}",
        )
    return digest_of(story, 2, pins=[])


# --- webhook ---------------------------------------------------------------------------------------------------------


WHSEC, BEFORE = "whsec_" + "c2VjcmV0" * 4, "whsec_" + "YmVmb3Jl" * 6


@pytest.mark.parametrize("form", ["json", "cloudevents"])
def test_standard_webhooks(form: str) -> None:
    """The library of the specification verifies the body with the secret and the one before, and with no other."""
    with hook_server() as server:
        channel = WebhookChannel(
            options(server, secret=WHSEC, old_secret=BEFORE, format=form), lambda: datetime.now(UTC)
        )
        assert send(channel) == {}
        assert send(channel) == {}
    first, second = server.calls
    headers = {name.lower(): value for name, value in first.headers.items()}

    for secret in (WHSEC, BEFORE):
        assert Webhook(secret).verify(first.body, headers) == first.document
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "b3RoZXIx" * 4).verify(first.body, headers)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_cloud_events() -> None:
    """The official SDK reads the event, which has in it what the other format sends."""
    with hook_server() as server:
        for form in ("json", "cloudevents"):
            assert send(webhook(server, format=form)) == {}
    plain, event = server.calls
    read = from_structured_event(HTTPMessage(dict(event.headers), event.body))

    assert event.headers["Content-Type"].startswith("application/cloudevents+json")
    assert read.get_data() == plain.document
    assert (read.get_specversion(), read.get_id()) == ("1.0", event.headers["webhook-id"])
    assert (read.get_type(), read.get_subject()) == ("crawler.report.digest", plain.document["subject"])


def test_webhook_is_signed_and_whole() -> None:
    """A receiver can check the signature over timestamp and body, recognise a copy, and read words and data."""
    with hook_server() as server:
        assert send(webhook(server)) == {}
        assert send(webhook(server)) == {}
    first, second = server.calls
    expected = hmac.new(SECRET.encode(), f"{int(NOW.timestamp())}.".encode() + first.body, hashlib.sha256).hexdigest()
    document = first.document

    assert first.headers["X-Crawler-Timestamp"] == str(int(NOW.timestamp()))
    assert first.headers["X-Crawler-Signature"] == f"sha256={expected}"
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] == document["message_id"]
    assert (first.body, first.path) == (second.body, PATH)
    assert document["observed"] == {"zones": 12, "of": 14, "at": document["observed"]["at"]}
    assert document["pins"][0]["pin"] == {"zone": "zone-01", "image_id": "uimage-a"}
    assert {line["topic"] for line in document["lines"]} >= {"appeared", "gpu_lost", "flapped"}
    assert len(document["changes"]) == len(eventful().changes)
    assert document["subject"] in letter(webhook(server)).subject
    assert "attached" not in document["text"]


def test_a_copy_on_purpose_is_no_duplicate() -> None:
    """What is told again on purpose has a Message-ID of its own; the digest itself always has the same."""
    with hook_server() as server:
        channel = webhook(server)

    assert letter(channel).message_id == letter(channel).message_id == letter(feishu(server)).message_id
    assert letter(channel, copy="7").message_id != letter(channel).message_id


def test_webhook_is_bounded() -> None:
    """Of a flood of changes the document holds a bounded part, and says how many are left out."""
    document = json.loads(letter(WebhookChannel(HookOptions(name="w", url="http://x"), lambda: NOW), crowded()).content)

    assert (len(document["changes"]), document["changes_left_out"]) == (MOST_CHANGES, 200)


@pytest.mark.parametrize(
    ("reply", "permanent", "scope", "said"),
    [
        (Reply(status=503), False, "recipient", "HTTP 503 Service Unavailable"),
        (Reply(status=429), False, "recipient", "HTTP 429"),
        (Reply(status=408), False, "recipient", "HTTP 408"),
        (Reply(status=403, body=f"no {SECRET} at {PATH}"), True, "recipient", "HTTP 403 Forbidden"),
        (Reply(status=413), True, "message", "HTTP 413"),
        (Reply(status=302, headers={"Location": "/elsewhere"}), True, "recipient", "redirects are not followed"),
        (Reply(status=599), False, "recipient", "HTTP 599"),
        (Reply(drop=True), False, "recipient", "cannot be reached, or hung up"),
    ],
    ids=str,
)
def test_webhook_refusals(reply: Reply, permanent: bool, scope: str, said: str) -> None:
    """A status tells whether another try is worth it; a redirect is not followed; no error quotes the address."""
    with hook_server() as server:
        server.answer = lambda call: reply
        found = refusal(webhook(server))

    assert (found.permanent, found.scope) == (permanent, scope), found.message
    assert said in found.message
    assert len(server.calls) == 1


def test_webhook_that_is_silent_or_not_there() -> None:
    """Silence ends after the time-out, and a closed port is told; both are worth another try."""
    with hook_server() as server:
        server.answer = lambda call: Reply(hang=True)
        silent = refusal(webhook(server, timeout_seconds=0.2))
    absent = refusal(webhook(server))

    assert (silent.permanent, absent.permanent) == (False, False)
    assert "did not answer in 0.2 s" in silent.message
    assert "cannot be reached" in absent.message


@pytest.mark.parametrize("end", [{"hang": True}, {"drop": True}], ids=str)
def test_status_is_the_answer(end: dict[str, Any]) -> None:
    """A receiver that says 200 has it, and one that says 503 has not, though the rest of the answer never comes."""
    with hook_server() as server:
        server.answer = lambda call: Reply(begun=True, **end)
        taken = send(webhook(server, timeout_seconds=0.5))
        server.answer = lambda call: Reply(status=503, begun=True, **end)
        refused = refusal(webhook(server, timeout_seconds=0.5))
        server.answer = lambda call: Reply(begun=True, **end)
        doubted = refusal(feishu(server, timeout_seconds=0.5))

    assert taken == {}
    assert "HTTP 503" in refused.message
    assert "did not say whether it took the card" in doubted.message
    assert (refused.permanent, doubted.permanent) == (False, False)


def test_webhook_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody vouches for gets nothing; one that the system trusts is fine."""
    context, certificate = make_tls(tmp_path)
    with hook_server(context) as server:
        unknown = refusal(webhook(server))
        seen = len(server.calls)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert send(webhook(server)) == {}

    assert (unknown.permanent, seen, len(server.calls)) == (True, 0, 1)
    assert "is not trusted" in unknown.message


def test_certificates_that_went_away(tmp_path: Path) -> None:
    """A `ca_file` that a worker read once and is gone is a refusal that is tried again, no report that cannot be."""
    with hook_server() as server:
        gone = refusal(webhook(server, ca_file=tmp_path / "ca.pem"))

    assert (gone.scope, gone.permanent) == ("recipient", True)
    assert gone.message.endswith("ca.pem cannot be read: No such file or directory")


# --- Feishu ----------------------------------------------------------------------------------------------------------


def robot(call: Call) -> Reply:
    """Answer as a robot with a signature check does: HTTP 200 whatever it thinks."""
    document = call.document
    key = f"{document.get('timestamp')}\n{SECRET}".encode()
    sign = base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()
    if document.get("sign") != sign or abs(int(document["timestamp"]) - NOW.timestamp()) > 3600:
        return Reply(body=json.dumps({"code": 19021, "msg": "sign match fail or timestamp is not within one hour"}))
    if len(call.body) > 20_000:
        return Reply(body=json.dumps({"code": 9499, "msg": "too large"}))
    return Reply(body=json.dumps({"code": 0, "msg": "success", "data": {}}))


def test_feishu_card_is_taken() -> None:
    """A robot that checks signatures takes the card, which has the news in its header."""
    with hook_server() as server:
        server.answer = robot
        assert send(feishu(server)) == {}
        wrong = refusal(feishu(server, secret="wrong-horse"))
    card = server.calls[0].document["card"]

    assert server.calls[0].document["msg_type"] == "interactive"
    assert card["header"]["title"]["content"] == letter(feishu(server)).subject
    assert card["header"]["template"] == "red"
    assert "uimage-a" in server.calls[0].body.decode()
    assert (wrong.permanent, wrong.scope) == (True, "recipient")
    assert "code 19021 sign match fail" in wrong.message


def test_feishu_without_signature_check() -> None:
    """A robot without a secret gets a card without a signature."""
    with hook_server() as server:
        server.answer = lambda call: Reply(body='{"code": 0}')
        assert send(feishu(server, secret=None)) == {}

    assert set(server.calls[0].document) == {"msg_type", "card"}


@pytest.mark.parametrize(
    ("reply", "permanent", "scope"),
    [
        (Reply(body='{"code": 11232, "msg": "frequency limited"}'), False, "recipient"),
        (Reply(body=f'{{"code": 19024, "msg": "no {SECRET} {PATH}"}}'), True, "recipient"),
        (Reply(body='{"code": 9499, "msg": "Bad Request"}'), True, "message"),
        (Reply(status=400, body='{"code": 9499, "msg": "Bad Request"}'), True, "message"),
        (Reply(status=502, body="<html>"), False, "recipient"),
        (Reply(body="<html>welcome"), False, "recipient"),
        (Reply(body='{"code": true}'), False, "recipient"),
        (Reply(status=404), True, "recipient"),
    ],
    ids=str,
)
def test_feishu_is_believed_by_its_body(reply: Reply, permanent: bool, scope: str) -> None:
    """Only `code` 0 is delivered, HTTP 200 or not; what the robot says loses what is secret."""
    with hook_server() as server:
        server.answer = lambda call: reply
        found = refusal(feishu(server))

    assert (found.permanent, found.scope) == (permanent, scope), found.message


@pytest.mark.parametrize("before", ["", "-" * 250, "-" * 290])
def test_feishu_repeats_no_secret(before: str) -> None:
    """What a robot repeats of its address, its secret or a signature is in no error, in whatever form it comes back."""
    sent: list[str] = []

    def repeat(call: Call) -> Reply:
        sent[:] = [call.document["sign"], quote(call.document["sign"], safe=""), PATH, SECRET, SECRET.upper()]
        sent.extend([quote(PATH, safe=""), quote(quote(SECRET)), base64.b64encode(SECRET.encode()).decode()])
        return Reply(body=json.dumps({"code": 19021, "msg": " ".join([before, *sent])}))

    with hook_server() as server:
        server.answer = repeat
        said = refusal(feishu(server)).message

    assert "code 19021" in said
    assert [form for form in sent if form in said] == []
    assert "secret-path"[:6] not in said
    assert SECRET[:5] not in said


@pytest.mark.parametrize("language", ["en", "zh"])
def test_feishu_card_fits(language: str) -> None:
    """Whatever happened, the body stays within 20 kB and says how much is left out."""
    with hook_server() as server:
        server.answer = robot
        digest = crowded()
        digest = replace(digest, subscription=replace(digest.subscription, language=language))  # type: ignore[arg-type]
        content = letter(feishu(server), digest).content
        assert send(feishu(server), content) == {}
    body = server.calls[0].body

    assert LARGEST_BODY / 10 < len(body) <= LARGEST_BODY
    assert ("more" if language == "en" else "另有") in body.decode()
    assert "attached" not in body.decode()
    assert "附件" not in body.decode()


@pytest.mark.parametrize(
    "name", ["<at id=all></at>", "**bold** _i_ ~s~", "[click](http://evil.example)", ":OK: `x` # & |", "a\\*b"]
)
def test_feishu_shows_names_as_they_are(name: str) -> None:
    """No name is markup, a mention, a link or an emoji in the card."""
    shown = escaped(name)

    assert not set("<>*_~[]()`#\\|") & set(shown.replace("&#", ""))
    assert "://" not in shown
    assert ":OK:" not in shown
    blocks = json.loads(letter(feishu(HookServer()), digest_of(eventful(name))).content)["card"]["elements"]
    assert all(name not in block["content"] for block in blocks if block["tag"] == "markdown")


# --- Apprise ---------------------------------------------------------------------------------------------------------


def test_apprise_delivers() -> None:
    """A service that Apprise knows gets title and text; what would call people is defused."""
    with hook_server() as server:
        channel = apprise(server)
        digest = digest_of(eventful("@everyone <!here>"))
        assert send(channel, letter(channel, digest).content) == {}
    document = server.calls[0].document

    assert server.calls[0].path == PATH
    assert document["title"].replace("\u200b", "") == letter(channel, digest).subject
    assert "everyone" in document["message"]
    assert "@everyone" not in document["title"] + document["message"]
    assert "<!" not in document["title"] + document["message"]


def test_apprise_follows_no_redirect() -> None:
    """What a service says of another address is not believed: the message goes nowhere else."""
    with hook_server() as elsewhere, hook_server() as server:
        server.answer = lambda call: Reply(status=307, headers={"Location": elsewhere.url})
        found = refusal(apprise(server))

    assert (found.permanent, found.message) == (False, "apprise:json did not take the message")
    assert elsewhere.calls == []


@pytest.mark.parametrize("reply", [Reply(status=500, body=SECRET), Reply(status=403), Reply(drop=True)], ids=str)
def test_apprise_that_fails(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    """A service that does not take a message is worth another try; neither error nor log shows the address."""
    with hook_server() as server, caplog.at_level(logging.DEBUG):
        server.answer = lambda call: reply
        found = refusal(apprise(server))

    assert (found.permanent, found.message) == (False, "apprise:json did not take the message")
    assert "secret-path" not in caplog.text


def test_apprise_that_is_slow() -> None:
    """A service that never ends its answer is given up after the time-out, and the program can end."""
    with hook_server() as server:
        server.answer = lambda call: Reply(hang=True)
        found = refusal(apprise(server, timeout_seconds=0.3))

    assert (found.permanent, found.message) == (False, "apprise:json did not take the message in 0.3 s")


def test_apprise_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that Apprise does not know, and Apprise itself missing, are one clear sentence each."""
    with hook_server() as server:
        unknown = refusal(apprise(server, url="nosuch://secret-path"))
        monkeypatch.setitem(sys.modules, "apprise", None)
        missing = refusal(apprise(server))

    assert (unknown.permanent, missing.permanent) == (True, True)
    assert "no service that Apprise knows" in unknown.message
    assert "pip install 'ucloud-image-crawler[apprise]'" in missing.message


def test_apprise_text_fits() -> None:
    """A text that a service has no room for loses its last lines, and says how many."""
    text = "\n".join(f"line {number}" for number in range(100))

    assert shortened("short", 100, "and {n} more") == "short"
    assert shortened(text, 60, "and {n} more").splitlines()[-1] == "and 93 more"
    assert len(shortened(text, 60, "and {n} more")) <= 60
    content = letter(AppriseChannel(HookOptions(name="a", url="json://x")), crowded()).content
    assert len(json.loads(content)["text"].encode()) <= 8_000


# --- from the run to the channel -------------------------------------------------------------------------------------


def test_every_channel_at_once(tmp_path: Path) -> None:
    """
    One run tells all channels; a dead one holds up no other, is tried again, and gets the same Message-ID.

    What is told again on request says so.
    """
    step = {"images": {"hk-01": {"uimage-a": "CentOS 7.6", "uimage-b": "Rocky 9"}}}
    timeline = make_timeline(zones={"hk-01": {"uimage-a": "CentOS 7.6"}}, steps=[step])
    with run_in_thread(timeline) as cloud, hook_server() as good, hook_server() as bad, hook_server() as chat:
        chat.answer = lambda call: Reply(body='{"code": 0}')
        bad.answer = lambda call: Reply(status=503)
        reports: list[dict[str, Any]] = [
            {"name": "bad", "channel": "webhook", "url": bad.url, "secret": SECRET},
            {"name": "good", "channel": "webhook", "url": good.url, "secret": SECRET},
            {"name": "chat", "channel": "feishu", "url": chat.url, "secret": SECRET, "language": "zh"},
            {"name": "any", "channel": "apprise", "url": good.url.replace("http:", "json:")},
        ]
        driver = Driver(tmp_path, f"sqlite:///{tmp_path}/crawler.db")
        driver.configure(account(cloud.url), reports=reports)
        first = driver.run()
        bad.answer = lambda call: Reply()
        driver.now += timedelta(hours=1)
        second = driver.run()
        said = [first.result.stderr, second.result.stderr]
        said += [driver.call(*words).stdout for words in (("report", "list", "--all"), ("config", "show"))]
        eml = driver.call("report", "preview", "good", "--since", "7d", "--eml", tmp_path / "x.eml", code=None)
        told = len(good.calls)
        cloud.advance()
        driver.run("--no-report")
        driver.call("report", "send", "good", "--since", "7d")

    assert first.summary["reports"] == {"queued": 4, "sent": 3, "failed": 1}
    assert second.summary["reports"]["sent"] == 1
    assert len({call.headers["Idempotency-Key"] for call in bad.calls}) == 1
    assert (len(bad.calls), told, len(chat.calls)) == (2, 2, 1)
    assert (bad.calls[-1].document["kind"], good.calls[-1].document["kind"]) == ("digest", "again")
    assert "webhook:127.0.0.1" in said[2]
    assert not any(word in text for text in said for word in (SECRET, "secret-path"))
    assert not any(word in (tmp_path / "crawler.db").read_bytes() for word in (SECRET.encode(), b"secret-path"))
    assert (eml.exit_code, "there is no mail to write" in eml.stderr) == (2, True)
