"""The forms in which a gateway repeats what it was sent, and how to look for them."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus


def lower_escapes(text: str) -> str:
    """Url-encode with small letters."""
    return "".join(char if char.isalnum() else f"%{ord(char):02x}" for char in text)


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "url": quote_plus,
    "url, small letters": lower_escapes,
    "url twice": lambda text: quote(quote_plus(text)),
    "url three times": lambda text: quote(quote(quote_plus(text))),
    "url, every letter": lambda text: "".join(f"%{ord(char):02X}" for char in text),
    "json": json.dumps,
    "json, slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "json, every letter": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "json twice": lambda text: json.dumps(json.dumps(text).replace("@", "\\u0040")),
    "json of html of url": lambda text: json.dumps(html.escape(quote_plus(text))),
    "html": lambda text: html.escape(text).replace("@", "&#64;").replace("=", "&#x3d;"),
    "html, named": lambda text: text.replace("@", "&commat;").replace("+", "&plus;").replace("=", "&equals;"),
    "html twice": lambda text: html.escape(text.replace("@", "&#64;")),
    "url of html": lambda text: quote(text.replace("@", "&#64;")),
    "repr": lambda text: repr(text.encode()),
    "repr, hexadecimal": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64, second place": lambda text: b64encode(f"x{text}".encode()).decode(),
    "base64, third place": lambda text: b64encode(f"xy{text}".encode()).decode(),
    "base64 for urls": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "base64 in json in a url": lambda text: quote(json.dumps(b64encode(text.encode()).decode())),
}


def traces(secrets: Iterable[str]) -> set[str]:
    """Return what is left of each of *secrets* in any of the forms: itself, its longest word, and both as base64."""
    found: set[str] = set()
    for secret in secrets:
        word = max(re.findall(r"\w+", secret), key=len)
        found |= {secret, secret.upper(), word} | {form(word).strip("\"'") for form in FORMS.values()}
        # Without its first and its last characters, which depend on what stands beside it.
        found |= {b64encode(f"{'x' * place}{word}".encode()).decode()[4:-4] for place in range(3)}
    return found
