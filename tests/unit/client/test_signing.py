"""The signature against every published vector, and against the vendor's own signer."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ucloud.core import auth
from ucloud.core.typesystem import encoder

from crawler.client.signing import flatten, signature, signed_form

PK1 = "ucloudsomeone@example.com1296235120854146120"
PK2 = "someone@example.com1296235120854146120"
SK = "46f09bb9fab4f12dfc160dae12273d5332b5debe"

DESCRIBE = {"Action": "DescribeUHostInstance", "Region": "cn-bj2"}
CREATE = {
    "Action": "CreateUHostInstance",
    "CPU": 2,
    "ChargeType": "Month",
    "DiskSpace": 10,
    "ImageId": "f43736e1-65a5-4bea-ad2e-8a46e18883c2",
    "LoginMode": "Password",
    "Memory": 2048,
    "Name": "Host01",
    "Password": "VUNsb3VkLmNu",
    "PublicKey": PK1,
    "Quantity": 1,
    "Region": "cn-bj2",
    "Zone": "cn-bj2-04",
}
LISTED = {**DESCRIBE, "Zone": "cn-bj2-04", "UHostIds": ["uhost-qs20fr"], "Offset": 0, "Limit": 20, "PublicKey": PK1}


@pytest.mark.parametrize(
    ("params", "key", "published"),
    [
        # the example of the API documentation
        ({**DESCRIBE, "Limit": 10, "PublicKey": PK1}, SK, "cba5cf5ec4d4233d206b1b54951e3787350a642f"),
        # the same at two brands
        ({**DESCRIBE, "Limit": 10, "PublicKey": PK2}, SK, "4201919d267504385deb93af19e0197870fed36b"),
        # the SDKs' unit tests, and the documentation until 2020
        (CREATE, SK, "4f9ef5df2abab2c6fccd1e9515cb7e2df8c6bb65"),
        # a whole float is signed as an integer
        ({**DESCRIBE, "Proportion": 35.0, "PublicKey": PK1}, SK, "da620b97de476947302291fc93a2d8b0710be328"),
        ({**DESCRIBE, "Proportion": 65.722, "PublicKey": PK1}, SK, "5e39dd48144d6a075328e56a6c5e9df6c39ae939"),
        # a temporary credential's token is an ordinary parameter
        ({"Name": "foo", "PublicKey": "foo", "SecurityToken": 42}, "bar", "012679c87951918e8e04de783a4a8ff981a61d5f"),
        ({"foo": "bar"}, "my_private_key", "634edc1bb957c0d65e5ab5494cf3b7784fbc87af"),
        (
            {"foo": "bar", "PublicKey": "my_public_key"},
            "my_private_key",
            "d4411ab30953fb0bbcb1e7313081f05e4e91a394",
        ),
        # published with another signature; this is what the parameters really give
        (LISTED, SK, "fd437f5e70e532fe1e24fcf24d284b17f7e03433"),
    ],
)
def test_published(params: dict[str, object], key: str, published: str) -> None:
    """Every published vector that is right verifies."""
    assert published == signature(params, key)


@pytest.mark.parametrize(
    ("params", "published"),
    [
        # three brands renamed the key and kept the old signature
        ({**DESCRIBE, "Limit": 10, "PublicKey": PK2}, "cba5cf5ec4d4233d206b1b54951e3787350a642f"),
        # a placeholder, reused for other actions too
        (LISTED, "2697152c34abbc148a38a33c0dc0d3d7b99ce82f"),
    ],
)
def test_stale(params: dict[str, object], published: str) -> None:
    """Vectors known to be stale do not verify."""
    assert published != signature(params, SK)


def test_string_to_sign() -> None:
    """
    The text that the Go SDK's test of every type prints gives the signature printed beside it.

    That test signs nested JSON, whose elements join without their names. A form never holds such, so the joined values
    stand here.
    """
    joined = {
        "arr2": "foobar",
        "arrMap": "foobar",
        "arrMapMissTyped1": "",
        "arrMapMissTyped2": "",
        "array": "foobar",
        "boolValue": True,
        "boolValuePointer": True,
        "float32TValue": 42.0,
        "float32TValuePointer": 42.0,
        "float32Value": Decimal("42.099998474121094"),
        "float32ValuePointer": 42.099998474121094,
        "float64TValue": 42.0,
        "float64TValuePointer": 42.0,
        "float64Value": 42.1,
        "float64ValuePointer": 42.1,
        **{
            f"{kind}{bits}{tail}": 42
            for kind in ("int", "uint")
            for bits in ("", 8, 16, 32, 64)
            for tail in ("", "Pointer")
        },
        "map": "foobar",
        "mapArrMapMissTyped": "",
        "strValue": "foo",
        "strValuePointer": "foo",
    }

    assert signature(joined, "foo") == "682fc4fbb46a71c6c690a1f8cb233f4174662845"


def test_flattened() -> None:
    """Arrays and objects become names with dots, counted from 0; what is None is left out."""
    params = {
        "Flag": False,
        "Nothing": None,
        "Ids": ["a", None, "b"],
        "Disks": [{"Size": 10, "Boot": True}, {"Size": 20.0}],
        "Filter": {"Name": "x", "Tags": ("t",)},
        "Signature": "old",
    }

    assert flatten(params) == {
        "Flag": "false",
        "Ids.0": "a",
        "Ids.1": "b",
        "Disks.0.Size": "10",
        "Disks.0.Boot": "true",
        "Disks.1.Size": "20",
        "Filter.Name": "x",
        "Filter.Tags.0": "t",
    }


def test_sorted_by_text() -> None:
    """Names sort by their bytes, so `Backends.10` comes before `Backends.2`."""
    ids = [f"id{number}" for number in range(11)]
    text = "".join(f"Backends.{n}id{n}" for n in (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9))

    assert hashlib.sha1(f"{text}key".encode()).hexdigest() == signature({"Backends": ids}, "key")


@pytest.mark.parametrize(
    ("value", "text"), [(0.00001, "0.00001"), (1e16, "10000000000000000"), (-0.0, "0"), (2**70, str(2**70))]
)
def test_no_scientific_notation(value: float, text: str) -> None:
    """Numbers are written out in full."""
    assert flatten({"N": value}) == {"N": text}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN")])
def test_not_finite(value: object) -> None:
    """A number that is none is refused."""
    with pytest.raises(ValueError, match="no form parameter"):
        signature({"N": value}, "key")


def test_unknown_type() -> None:
    """A value that no form can carry is refused instead of being signed as its repr."""
    with pytest.raises(TypeError, match="bytes"):
        signature({"N": b"x"}, "key")


def test_form() -> None:
    """The form carries what was signed, escaped only on the wire."""
    form = signed_form({"Action": "A", "Name": "镜像 +&=/", "N": None, "Signature": "old"}, "public", "private")

    sent = dict(parse_qsl(form.decode()))
    assert list(sent) == ["Action", "Name", "PublicKey", "Signature"]
    assert sent["Name"] == "镜像 +&=/"
    assert sent["Signature"] == signature({"Action": "A", "Name": "镜像 +&=/", "PublicKey": "public"}, "private")


texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=12)
names = st.text(alphabet="ABCabc019_", min_size=1, max_size=8).filter(
    lambda name: name not in ("Signature", "PublicKey")
)
# The vendor's encoder writes tiny floats as 1e-05, which its own documentation forbids: those are left out.
floats = st.floats(min_value=-1e12, max_value=1e12).filter(lambda number: "e" not in str(number))
scalars = st.one_of(texts, st.integers(), st.booleans(), floats)
objects = st.dictionaries(names, scalars, max_size=3)
params = st.dictionaries(
    names, st.one_of(scalars, st.lists(scalars, max_size=12), objects, st.lists(objects, max_size=3))
)


@given(params=params, public_key=texts, private_key=texts)
def test_agrees_with_vendor(params: dict[str, object], public_key: str, private_key: str) -> None:
    """The vendor's Python SDK signs the same parameters the same."""
    encoded = encoder.encode(params)
    theirs = auth.Credential(public_key, private_key).verify_ac(encoded)

    assert theirs == signature({**params, "PublicKey": public_key}, private_key)
