"""Hypothesis strategies and small builders for answers of DescribeUK8SImage, in every shape the API is known to use."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from crawler.domain.models import ImageKey, KnownState

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EARLIER = NOON - timedelta(hours=6)

SET_NAMES = (
    "ImageSet",
    "ImageSetnew",
    "PHostImageSet",
    "CustomImageSet",
    "CustomIImageSet",
    "CustomPHostImageSet",
    "PHostCustomIImageSet",
    "BrandNewImageSet",
)
NAMES = ("CentOS 7.6", "Ubuntu 20.04", "UBuntu 20.04", "Anolis 8.6", "Ubuntu 20.04 「EOL」", "高内核CentOS 7.6 64位")

_ids = st.sampled_from([f"uimage-{n:06d}" for n in range(12)])
_optional_fields: dict[str, st.SearchStrategy[Any]] = {
    "ImageName": st.sampled_from(NAMES) | st.none(),
    "NotSupportGPU": st.booleans() | st.sampled_from(["true", "False"]) | st.none(),
    "ZoneId": st.sampled_from([3002, "3002"]),
    "OsType": st.sampled_from(["Linux", "CentOS", "Windows"]),
    "OsName": st.sampled_from(["CentOS 7.6 64位", "Ubuntu"]),
    "Features": st.lists(st.sampled_from(["NetEnhanced", "HotPlug", "Vgpu_AMD", "CloudInit"]), max_size=4) | st.none(),
    "SupportedGPUTypes": st.lists(st.sampled_from(["V100", "A100", "T4"]), max_size=3) | st.none(),
    "IntegratedSoftware": st.sampled_from(["CUDA 12.4", "CUDA 12.8", ""]),
    "ImageSize": st.sampled_from([20, "40", 100]),
    "BrandNewField": st.sampled_from([1, "x", ["b", "a"], {"k": [2, 1]}]),
}
records = st.builds(
    lambda image_id, fields: {"ImageId": image_id, **fields},
    _ids,
    st.fixed_dictionaries({}, optional=_optional_fields),
)
elements = records | _ids
documents = st.builds(
    lambda sets: {"RetCode": 0, "Action": "DescribeUK8SImageResponse", **sets},
    st.dictionaries(st.sampled_from(SET_NAMES), st.lists(elements, max_size=6) | st.none(), max_size=4),
)


_RECASINGS: tuple[Callable[[str], str], ...] = (str, str.lower, str.upper, str.swapcase)


def shuffled(document: Any, rng: random.Random) -> Any:
    """Say the same answer in another way: lists, records and keys in another order, duplicates, other key case."""
    if isinstance(document, list):
        items = [shuffled(item, rng) for item in document]
        if items and rng.random() < 0.5:
            items.append(rng.choice(items))
        rng.shuffle(items)
        return items
    if isinstance(document, dict):
        recase = rng.choice(_RECASINGS)
        pairs = [(recase(key), shuffled(value, rng)) for key, value in document.items()]
        rng.shuffle(pairs)
        return dict(pairs)
    return document


def image_key(image_id: str, image_set: str = "ImageSet") -> ImageKey:
    """Return the key of an image, in `ImageSet` unless told otherwise."""
    return ImageKey(image_set, image_id)


def known_images(*rows: tuple[str, str], **more: Any) -> KnownState:
    """Return a target's history with images `(id, name)` of `ImageSet` open, last observed well at EARLIER."""
    images = {image_key(image_id): {"image_name": name} for image_id, name in rows}
    options: dict[str, Any] = {"last_good_at": EARLIER, **more}
    return KnownState(images=images, **options)


def answer(*rows: tuple[str, str] | dict[str, Any] | str, **envelope: Any) -> dict[str, Any]:
    """Return an answer whose `ImageSet` lists *rows*: `(id, name)` pairs, whole records or bare ids."""
    records = [{"ImageId": row[0], "ImageName": row[1]} if isinstance(row, tuple) else row for row in rows]
    return {"RetCode": 0, "Action": "DescribeUK8SImageResponse", "ImageSet": records, **envelope}
