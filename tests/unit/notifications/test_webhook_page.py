"""The page about webhooks: its snippets verify what the channel signs, and its event is one."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from crawler.domain.webhooks import hook_headers
from tests.support.examples import blocks

BODY = b'{"message_id": "<1@crawler>"}'
SECRET = "whsec_" + "c2VjcmV0" * 4
OTHER = "whsec_" + "b3RoZXIx" * 4

Verifier = Callable[[dict[str, str], bytes, str], bool]


def python() -> Verifier:
    (block,) = set(blocks("python", "docs/reports.md") + blocks("python", "docs/zh/reports.md"))
    names: dict[str, Any] = {}
    exec(compile(block, "docs/reports.md", "exec"), names)
    verifier: Verifier = names["is_ours"]
    return verifier


def javascript() -> Verifier:
    (block,) = set(blocks("javascript", "docs/reports.md") + blocks("javascript", "docs/zh/reports.md"))
    node = shutil.which("node") or pytest.skip("node is not installed")

    def verify(headers: dict[str, str], body: bytes, secret: str) -> bool:
        asked = json.dumps([headers, body.decode(), secret])
        script = f"{block}\nconsole.log(isOurs(...{asked}))"
        done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
        return {"true": True, "false": False}[done.stdout.strip()]

    return verify


def go() -> Verifier:
    (block,) = set(blocks("go", "docs/reports.md") + blocks("go", "docs/zh/reports.md"))
    program = shutil.which("go") or pytest.skip("go is not installed")
    packages = ("crypto/hmac", "crypto/sha256", "encoding/base64", "encoding/json", "fmt", "net/http", "os")
    imports = "\n".join(f'"{name}"' for name in (*packages, "strconv", "strings", "time"))
    main = """
func main() {
    var asked struct { Headers map[string]string; Body, Secret string }
    json.Unmarshal([]byte(os.Args[1]), &asked)
    headers := http.Header{}
    for name, value := range asked.Headers { headers.Set(name, value) }
    fmt.Println(isOurs(headers, []byte(asked.Body), asked.Secret))
}
"""

    def verify(headers: dict[str, str], body: bytes, secret: str) -> bool:
        asked = json.dumps({"Headers": headers, "Body": body.decode(), "Secret": secret})
        source = f"package main\nimport (\n{imports}\n)\n{block}{main}"
        done = subprocess.run(
            [program, "run", "/dev/stdin", asked], input=source, capture_output=True, text=True, check=True
        )
        return {"true": True, "false": False}[done.stdout.strip()]

    return verify


@pytest.mark.parametrize("language", [python, javascript, go], ids=lambda language: language.__name__)
def test_snippets(language: Callable[[], Verifier]) -> None:
    """A snippet accepts what the channel signs, also while a secret is replaced; no other secret, body or old copy."""
    is_ours = language()
    now = int(time.time())
    headers = hook_headers("msg_1", now, BODY, [OTHER, SECRET])

    assert is_ours(headers, BODY, SECRET)
    assert is_ours(headers, BODY, OTHER)
    assert not is_ours(headers, BODY, "whsec_" + "dGhpcmQh" * 4)
    assert not is_ours(headers, b"{}", SECRET)
    assert not is_ours(hook_headers("msg_1", now - 900, BODY, [SECRET]), BODY, SECRET)


def test_event_of_the_page() -> None:
    """The event of the page is one for the official SDK."""
    (block,) = set(blocks("json", "docs/reports.md") + blocks("json", "docs/zh/reports.md"))
    event = from_structured_event(HTTPMessage({"content-type": "application/cloudevents+json"}, block.encode()))

    assert event.get_type() == "crawler.report.digest"
