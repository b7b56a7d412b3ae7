"""
From facts to a digest: what a subscription was not told yet, folded and ordered, in no language. Pure.
"""

from __future__ import annotations

from crawler.report.values import Digest, DigestFacts, Subscription, Told


def build_digest(
    subscription: Subscription, facts: DigestFacts, told: Told, *, urgent_only: bool = False
) -> Digest | None:
    """
    Give what *subscription* is to be told of *facts*, and None when that is nothing.

    With *urgent_only* it is what does not wait for the digest: conditions of pins not *told* before.
    """
    raise NotImplementedError
