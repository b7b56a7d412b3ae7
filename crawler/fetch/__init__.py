"""HTTP: signing, retries, the throttle, discovery and the fetcher. Async lives here."""
