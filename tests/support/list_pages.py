"""Lists of images in pages, who serves them, and what is composed of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from crawler.domain.composing import Composition, RefusedPage
from crawler.domain.kinds import KINDS, Kind
from crawler.domain.models import Target
from tests.support.kinds import uhost_image

KIND = KINDS["uhost-image"]
TARGET = Target("prod", "org-a", "hk", "hk-02", "uhost-image")

Server = Callable[[int, int], "dict[str, Any] | RefusedPage"]


def records(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [uhost_image(number) for number in range(first, first + count)]


def page(listed: Sequence[Any], total: int | None, **more: Any) -> dict[str, Any]:
    counts = {} if total is None else {"TotalCount": total}
    document = {"RetCode": 0, "Action": "DescribeImageResponse", **counts, "ImageSet": list(listed)}
    return document | more


def beyond(message: str = "Offset exceeds the total", ret_code: int = 8039) -> RefusedPage:
    return RefusedPage(ret_code=ret_code, message=message, is_of_product=ret_code >= 2000, is_passing=ret_code >= 2000)


def paged(listed: Sequence[Any], *, size: int | None = None, total: int | None = -1, end: Any = None) -> Server:
    """Return a server of *listed*, *size* records a page; it states *total* (None: nothing; -1: the truth)."""

    def serve(offset: int, limit: int) -> dict[str, Any] | RefusedPage:
        here = listed[offset : offset + min(limit, size or limit)]
        if offset and not here and end is not None:
            refused: RefusedPage = end
            return refused
        return page(here, len(listed) if total == -1 else total)

    return serve


def compose(serve: Server, *, kind: Kind = KIND, most: int = 400) -> tuple[dict[str, Any] | RefusedPage, list[int]]:
    """Ask until there is a whole answer, or a refusal that ends nothing; give it, and the offsets that were asked."""
    composition = Composition(TARGET, kind, {})
    offsets: list[int] = []
    while len(offsets) < most:
        params = composition.question.params
        offsets.append(int(params["Offset"]))
        answer = serve(offsets[-1], int(params["Limit"]))
        if isinstance(answer, RefusedPage):
            said = composition.refused(answer)
            if said is None:
                return answer, offsets
            whole = said if isinstance(said, bytes) else None
        else:
            whole = composition.take(json.dumps(answer).encode())
        if whole is not None:
            document: dict[str, Any] = json.loads(whole)
            return document, offsets
    raise AssertionError("it asks for ever")
