"""
One observation out of several answers: the pages of a list, and what is asked for each of its items. Pure.

A composition says what to ask, takes each answer, and gives the whole answer at the end, written as if the cloud had
given it at once. It never gives a smaller one: what is missing, repeated or moved makes it begin again, once, and then
fail. What the composed answer means is not decided here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from crawler.domain.kinds import Follow, Kind
from crawler.domain.models import Target
from crawler.domain.objections import Tolerable, misdirection
from crawler.domain.parsing import MAX_RECORDS, Unread, find, key_of, members, read, read_members, rest_in
from crawler.domain.targets import request_parameters
from crawler.domain.text import agreeing, counted
from crawler.domain.values import clean_text
from crawler.errors import NotUnderstood

#: RetCode of an action that the cloud does not know.
UNKNOWN_ACTION = 161
#: What a refusal of a page speaks of that lies behind the end of the list.
_BEYOND = ("offset", "beyond", "exceed", "range", "total", "超出", "超过", "大于", "偏移")
#: What one speaks of that exceeds a time, a rate or a quota, or broke in the server, and no list: it passes, and says
#: nothing of what is there.
_PASSING = (
    *("deadline", "timeout", "time-out", "timed out", "rate limit", "frequen", "quota", "too many", "concurren"),
    *("number of requests", "requests per", "retries", "memory", "runtime error", "index out of", "slice bounds"),
    *("超时", "频", "并发", "请求数", "请求次数", "内存", "索引"),
)
#: Pages of a list whose number of records nobody stated that end in a full ten may be what the server gives at most.
_ROUND = 10


class Question(NamedTuple):
    """One request of an observation: the action, and its parameters."""

    action: str
    params: Mapping[str, str]


class NotWhole(NotUnderstood):
    """The answers do not make one whole list, even when read once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPage:
    """A refusal of one request, as far as a composition judges it."""

    ret_code: int | None
    message: str
    #: The product said it, and not the gateway before it.
    is_of_product: bool
    #: Another try might help.
    is_passing: bool


class _Incomplete(Exception):
    """The answers so far do not make one list."""


class Composition:
    """The requests of one observation of *target*, in their order, and what they gave so far."""

    def __init__(
        self, target: Target, kind: Kind, variant: Mapping[str, str], tolerated: Collection[Tolerable] = ()
    ) -> None:
        self._target = target
        self._kind = kind
        self._asked = {**kind.constants, **request_parameters(target, variant)}
        self._tolerated = tolerated
        self._action = kind.action
        self._was_begun_again = False
        self._begin()

    @property
    def answers(self) -> int:
        """Return of how many answers it is made: the pages of the list, and what was said of each item."""
        return max(1, self._pages + self._followed)

    @property
    def question(self) -> Question:
        """Return what to ask next."""
        if self._is_listing:
            paging = self._kind.paging
            page = {"Offset": str(self._received), "Limit": str(paging.limit)} if paging is not None else {}
            return Question(self._action, {**self._asked, **page})
        follow, item = self._open[0]
        constants = {name: value for name, value in self._asked.items() if name in ("Region", "ProjectId")}
        return Question(follow.action, {**constants, follow.item_key: str(find(item, (follow.item_key,)))})

    def take(self, body: bytes) -> bytes | None:
        """
        Take a good answer to `question`; give the whole answer when this was the last one, None while more is to ask.

        Raises NotWhole, or NotUnderstood where an answer cannot be read.
        """
        document = members(body)
        if document is None:
            raise NotUnderstood("the answer is not a JSON object")
        try:
            is_whole = self._take_page(document) if self._is_listing else self._take_followed(document)
        except _Incomplete as fault:
            if self._was_begun_again:
                raise NotWhole(f"{fault}, also when it was read once more") from None
            self._was_begun_again = True
            self._begin()
            return None
        return self._written() if is_whole else None

    def refused(self, refusal: RefusedPage) -> bytes | Literal["asked otherwise"] | None:
        """
        Say what a refusal of `question` means: the whole answer where it is the end of the list, that another action
        is asked instead, or None where it is nothing but a refusal.
        """
        is_first = self._is_listing and not self._pages
        if is_first and refusal.ret_code == UNKNOWN_ACTION and self._action != self._kind.instead != "":
            self._action = self._kind.instead
            return "asked otherwise"
        may_be_end = self._is_listing and not is_first and (refusal.is_of_product or not refusal.is_passing)
        if not may_be_end or refusal.ret_code is None:
            return None
        said = refusal.message.casefold()
        speaks_of_it = any(word in said for word in _BEYOND) and not any(word in said for word in _PASSING)
        if not speaks_of_it or self._rest or (self._total is not None and self._received < self._total):
            return None
        self._pages += 1  # as an empty page would: what a list lacks that came in several is read once more
        return self._written() if self._end_list() else "asked otherwise"

    def _begin(self) -> None:
        self._is_listing = True
        self._received = 0
        self._pages = 0
        self._followed = 0
        self._first_page = 0
        self._total: int | None = None
        #: A total that the first page reached only with what it repeats.
        self._doubted: int | None = None
        #: The member by which the last page said that there is more; empty: it did not.
        self._rest = ""
        #: Each page so far stated as many records as it had.
        self._counts_itself = True
        #: What each page said of its records that may come once alone.
        self._seen: set[tuple[str, str, str]] = set()
        self._last_lists: list[bytes] = []
        self._envelope: dict[str, bytes] = {}
        #: An answer says which action it is one to.
        self._is_named = False
        #: The records of each set as JSON, in pieces without the brackets around them.
        self._lists: dict[str, list[bytes]] = {}
        self._items: list[Mapping[str, Any]] = []
        self._open: list[tuple[Follow, Mapping[str, Any]]] = []

    # --- the list ----------------------------------------------------------------------------------------------------

    def _take_page(self, document: Mapping[str, Any]) -> bool:
        """Take a page of the list; return whether nothing is to be asked any more."""
        kind = self._kind
        found = read_members(document, kind, kind.items or kind.sets)
        self._refuse_misdirected(found.stated, self._action, kind.aliases)
        self._is_named = any(name == "Action" for name, _ in found.stated)
        sets = [(name, value, _records(value)) for name, value in found.sets]
        count = sum(len(records) for _, _, records in sets)
        if not kind.follow:
            if not count:
                self._refuse_other_form(found.unknown_lists)
            self._keep(document)
        elif found.unknown_lists:
            raise NotWhole(f"it has none of the sets of {kind.action}, but objects under {found.unknown_lists[:80]}")
        else:
            self._items += [record for _, _, records in sets for record in records]
        if kind.paging is None:
            return self._end_list()
        self._refuse_moved(max((number for _, number in found.counts), default=None), count)
        # What a page lists twice takes one place in the list: were it counted twice, Offset would pass over others.
        new = count - self._refuse_repeated(sets)
        self._pages += 1
        self._received += new
        self._first_page = self._first_page or count
        if self._received > MAX_RECORDS:
            raise NotUnderstood(f"the list has more than {MAX_RECORDS:,} records, which is more than are read")
        self._rest = "" if "count" in self._tolerated else found.rest
        if self._rest and new == 0:
            raise _Incomplete(f"the list ends after {self._received}, and says with {self._rest} that there is more")
        return self._end_list() if self._is_end(count, new, kind.paging.limit) and not self._rest else False

    def _is_end(self, count: int, new: int, limit: int) -> bool:
        """
        Return whether a page of *count* records was the last one, of which *new* ones are different; raise _Incomplete
        where the list is short.
        """
        if new == 0:
            # an empty page leaves nothing that a doubtful total may have counted
            total = self._total if self._total is not None or count else self._doubted
            if total is not None and self._received < total and "count" not in self._tolerated:
                raise _Incomplete(f"the list ends after {self._received} of {counted(total, 'record')}")
            return True
        is_doubtful = self._pages == 1 and new < count == self._total
        if is_doubtful:
            self._doubted = self._total
        if is_doubtful or (self._total is not None and self._received > self._total):
            self._total = None  # it counts something else, as this page alone with what that repeats
        if self._total is None:
            is_cut = self._pages > 1 or is_doubtful or count >= limit or 0 in (count % _ROUND, new % _ROUND)
            return not is_cut
        if self._received < self._total:
            return False
        # A count of the page alone looks just the same where the page is full.
        return not (self._pages == 1 and new == limit)

    def _refuse_other_form(self, unknown: str) -> None:
        """Raise _Incomplete where a later page lists nothing but under an *unknown* member that no page had before."""
        if self._pages and unknown and unknown.casefold() not in map(str.casefold, self._envelope):
            raise _Incomplete(f"a page has none of the sets of {self._action}, but objects under {unknown[:80]}")

    def _refuse_moved(self, stated: int | None, count: int) -> None:
        """Note the number of all records that a page states; raise _Incomplete where it was another before."""
        if stated is None or (stated == 0 < count):
            return
        total = self._doubted if self._total is None else self._total
        if self._pages == 0:
            self._total = stated
        elif total is not None and stated != total:
            may_count_itself = self._pages == 1 or self._counts_itself
            if stated == count and may_count_itself and total in (self._first_page, self._received):
                self._total = self._doubted = None  # each page counts itself
                return
            raise _Incomplete(f"the number of records was {total}, and then {stated}, while they were read")
        self._counts_itself = self._counts_itself and stated == count

    def _refuse_repeated(self, sets: list[tuple[str, Any, list[Any]]]) -> int:
        """Raise _Incomplete where a page lists what an earlier one listed; return how often it repeats its own."""
        lists = [bytes(value) for _, value, records in sets if records and isinstance(value, Unread)]
        if lists and lists == self._last_lists:
            raise _Incomplete("a page of the list came twice")
        self._last_lists = lists
        placed = [(self._place(name, record), record) for name, _, records in sets for record in records]
        here = {place for place, _ in placed if place is not None}
        nameless = [record for place, record in placed if place is None]
        if not self._seen.isdisjoint(here):
            if here <= self._seen and not nameless and self._is_rest_of_first(len(placed)):
                return len(placed)
            again = min(self._seen & here)[1]
            raise _Incomplete(f"{clean_text(again)[:80]} is on two pages of the list, which moved while it was read")
        self._seen |= here
        repeated = len(placed) - len(nameless) - len(here)
        return repeated + len(nameless) - len(set(map(_encoded, nameless))) if repeated else 0

    def _is_rest_of_first(self, count: int) -> bool:
        """Return whether *count* records are as many as the only page so far listed twice: Offset counts these too."""
        return self._pages == 1 and self._total is None and count == self._first_page - self._received

    def _place(self, name: str, record: Any) -> tuple[str, str, str] | None:
        if self._kind.follow:
            item = find(record, (self._kind.follow[0].item_key,)) if isinstance(record, Mapping) else None
            return (name, str(item), "") if item else None
        key = key_of(self._kind, name, record)
        zone = find(record, ("Zone",)) if isinstance(record, Mapping) else None
        return (*key, str(zone or self._target.zone).casefold()) if key is not None else None

    def _end_list(self) -> bool:
        """Go on to what follows the list; return whether that is nothing."""
        self._seen.clear()
        self._last_lists = []
        unnamed = sum(not self._item_id(item) for item in self._items)
        if unnamed:
            have = f"{counted(unnamed, 'item')} of {self._kind.action} {agreeing(unnamed, 'has', 'have')}"
            raise NotWhole(f"{have} no {self._kind.follow[0].item_key}")
        self._open = [(follow, item) for item in self._items for follow in self._kind.follow]
        self._is_listing = False
        return not self._open

    def _item_id(self, item: Any) -> str:
        named = find(item, (self._kind.follow[0].item_key,)) if isinstance(item, Mapping) else None
        return str(named).strip() if isinstance(named, str | int) and not isinstance(named, bool) else ""

    # --- what follows ------------------------------------------------------------------------------------------------

    def _take_followed(self, document: Mapping[str, Any]) -> bool:
        """Take the answer about one item; return whether nothing is to be asked any more."""
        follow, item = self._open[0]
        self._followed += 1
        found = read_members(document, self._kind, self._kind.sets)
        self._refuse_misdirected(found.stated, follow.action, follow.aliases)
        if found.unknown_lists:
            raise NotWhole(f"it has none of the sets of {follow.action}, but objects under {found.unknown_lists[:80]}")
        item_id = self._item_id(item)
        self._refuse_another(follow, item_id, read(find(document, (follow.item_key,))))
        count = 0
        for name, value in found.sets:
            records = _records(value)
            count += len(records)
            for record in records:
                own = find(record, (follow.item_key,)) if isinstance(record, Mapping) else None
                self._refuse_another(follow, item_id, own)
            self._lists.setdefault(name, []).extend(_encoded(_carried(record, item, follow)) for record in records)
        more = max((number for _, number in found.counts), default=0)
        if more > count and "count" not in self._tolerated:
            raise _Incomplete(f"{follow.action} of {item_id} lists {count} of {counted(more, 'record')}")
        if found.rest and "count" not in self._tolerated:
            raise _Incomplete(f"{follow.action} of {item_id} says with {found.rest} that there is more than it lists")
        if sum(map(len, self._lists.values())) > MAX_RECORDS:
            raise NotUnderstood(f"the answers list more than {MAX_RECORDS:,} records, which is more than are read")
        self._open.pop(0)
        return not self._open

    # -----------------------------------------------------------------------------------------------------------------

    def _refuse_another(self, follow: Follow, item_id: str, stated: Any) -> None:
        """Raise _Incomplete where an answer about one item states another."""
        is_other = stated not in (None, "") and str(stated).strip().casefold() != item_id.casefold()
        if is_other and "echo" not in self._tolerated:
            raise _Incomplete(f"{follow.action} of {item_id} answers about {clean_text(str(stated))[:80]}")

    def _refuse_misdirected(self, stated: tuple[tuple[str, str], ...], action: str, aliases: tuple[str, ...]) -> None:
        """Raise _Incomplete where an answer says that it is about something else."""
        for check, sentence in misdirection(stated, self._target, action, aliases):
            if check not in self._tolerated:
                raise _Incomplete(sentence)

    def _keep(self, document: Mapping[str, Any]) -> None:
        """Keep a page: its lists are joined, of everything else the first statement counts."""
        for key, value in document.items():
            sets = read_members({key: value}, self._kind, self._kind.sets).sets
            for name, listed in sets:  # which may be one record, or an id as a text
                self._lists.setdefault(name, []).extend(_inside(listed))
            is_of_page = self._kind.paging is not None and rest_in({key: value})  # not of the whole list
            if not sets and not is_of_page and key.casefold() not in {kept.casefold() for kept in self._envelope}:
                self._envelope[key] = _encoded(value)

    def _written(self) -> bytes:
        """Write the whole answer."""
        counts = {name.casefold() for name in self._kind.counts}
        envelope = {name: value for name, value in self._envelope.items() if name.casefold() not in counts}
        if self._kind.follow:
            envelope = {"RetCode": b"0", "Action": _encoded(f"{self._kind.action}Response")}
            for name in self._kind.sets:
                self._lists.setdefault(name, [])
        elif self._kind.paging is not None and self._total is not None:
            envelope["TotalCount"] = str(max(self._total, 0)).encode()
        elif self._kind.paging is None:
            envelope = self._envelope
            if not self._is_named:  # nor by an empty member: which of the two it was
                envelope = {name: value for name, value in envelope.items() if name.casefold() != "action"}
                envelope |= {"Action": _encoded(f"{self._action}Response")}
        lists = {name: b"[" + b",".join(pieces) + b"]" for name, pieces in self._lists.items()}
        self._lists = {}
        return b"{" + b",".join(_encoded(name) + b":" + value for name, value in (envelope | lists).items()) + b"}"


def _records(value: Any) -> list[Any]:
    """Return the records of a set; null and `{}` are none, as everywhere."""
    decoded = read(value)
    if decoded is None or decoded == "":
        return []
    return [record for record in (decoded if isinstance(decoded, list) else [decoded]) if record not in (None, {})]


def _inside(value: Any) -> Iterator[bytes]:
    """Yield what stands between the brackets of a list, or what stands for a list of one."""
    if isinstance(value, Unread) and memoryview(value)[:1].tobytes() == b"[":
        inside = bytes(value).strip()[1:-1].strip()
        if inside:
            yield inside
    else:
        yield from map(_encoded, _records(value))


def _encoded(value: Any) -> bytes:
    return bytes(value) if isinstance(value, Unread) else json.dumps(value, separators=(",", ":")).encode()


def _carried(record: Any, item: Mapping[str, Any], follow: Follow) -> Any:
    """Return a record with what its item says of it, where it does not say so itself."""
    if not isinstance(record, Mapping):
        return record
    stated = {name: find(item, (name,)) for name in follow.carried if find(record, (name,)) is None}
    return {**record, **{name: value for name, value in stated.items() if value is not None}}
