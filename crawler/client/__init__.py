"""The API over HTTP: signing, throttle, retries, discovery and the fetcher. Async lives here."""

from __future__ import annotations
