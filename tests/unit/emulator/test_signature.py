"""The emulator's own reading of the signature rules, against what the vendor published."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY
from crawler.emulator.signature import flatten, is_signed_by

HOSTS = {"Action": "DescribeUHostInstance", "PublicKey": EXAMPLE_PUBLIC_KEY, "Region": "cn-bj2"}


@pytest.mark.parametrize(
    ("params", "private_key", "signature"),
    [
        ({**HOSTS, "Limit": 10}, EXAMPLE_PRIVATE_KEY, "cba5cf5ec4d4233d206b1b54951e3787350a642f"),
        ({**HOSTS, "Proportion": 35.0}, EXAMPLE_PRIVATE_KEY, "da620b97de476947302291fc93a2d8b0710be328"),
        ({**HOSTS, "Proportion": 65.722}, EXAMPLE_PRIVATE_KEY, "5e39dd48144d6a075328e56a6c5e9df6c39ae939"),
        ({"Name": "foo", "PublicKey": "foo", "SecurityToken": 42}, "bar", "012679c87951918e8e04de783a4a8ff981a61d5f"),
        ({"foo": "bar"}, "my_private_key", "634edc1bb957c0d65e5ab5494cf3b7784fbc87af"),
    ],
)
def test_published_signatures_hold(params: dict[str, Any], private_key: str, signature: str) -> None:
    """The signatures of the vendor's documentation and clients are accepted, and no other key makes them."""
    assert is_signed_by({**params, "Signature": signature, "Nothing": None}, private_key)
    assert not is_signed_by({**params, "Signature": signature}, private_key + "x")
    assert not is_signed_by(params, private_key)


def test_names_are_flattened_and_sorted_as_text() -> None:
    """Arrays and objects get flat names; numbers are plain, booleans in lower case, nulls left out."""
    nested = {"Ids": ["a", {"Zone": "b"}], "Set": {"On": True, "Off": None}, "Tiny": 1e-5, "Huge": 1e22, "Count": 10}

    assert flatten(nested) == {
        "Ids.0": "a",
        "Ids.1.Zone": "b",
        "Set.On": "true",
        "Tiny": "0.00001",
        "Huge": "10000000000000000000000",
        "Count": "10",
    }
