"""What the records of an answer state at all, beside what they stated before."""

from __future__ import annotations

from typing import Any

from crawler.domain.forms import AnswerForm, form_of, without
from crawler.domain.kinds import KINDS, UK8S_IMAGE
from crawler.domain.models import ImageKey


def form(known: dict[str, dict[str, Any]], listed: dict[str, dict[str, Any]], *ignored: str) -> AnswerForm:
    """Compare images of one set, by id."""
    before, after = ({ImageKey("ImageSet", key): stated for key, stated in side.items()} for side in (known, listed))
    return form_of(UK8S_IMAGE, before, after, ignored)


def test_a_field_is_missing_when_no_record_states_it() -> None:
    """One record that states it is enough, and what an image that is gone stated is not missing."""
    known: dict[str, dict[str, Any]] = {"a": {"os_name": "x", "gpu": True}, "b": {"os_name": "y", "os_type": "z"}}

    assert form(known, {"a": {"gpu": True}, "b": {"gpu": True}}).missing == {"os_name", "os_type"}
    assert form(known, {"a": {"gpu": True}, "b": {"os_name": "y", "os_type": "z"}}).missing == frozenset()
    assert form(known, {"a": {"gpu": True, "os_name": "x"}}).missing == frozenset()


def test_undeclared_names() -> None:
    """They count in any case; one that the declaration has by now is not missing, and nor is what is ignored."""
    known = {"a": {"extra": {"Odd": 1, "OsName": "x"}, "size_gb": 20}}

    assert form(known, {"a": {"extra": {"odd": 2}, "os_name": "x", "size_gb": 20}}).missing == frozenset()
    assert form(known, {"a": {"extra": {"odd": 2, "Level": 3}}}, "ImageSize").new == {"extra.Level"}
    assert form(known, {"a": {}}, "ImageSize").missing == {"extra.Odd"}
    assert form(known, {"a": {}}, "size_gb", "odd") == AnswerForm(
        stated=frozenset(), missing=frozenset(), new=frozenset()
    )


def test_unknown_set() -> None:
    """A set that neither the declaration nor an image has is new."""
    listed: dict[ImageKey, dict[str, Any]] = {ImageKey("ImageSetFuture", "c"): {}, ImageKey("customimageset", "d"): {}}

    assert form_of(UK8S_IMAGE, {}, listed).new == {"set ImageSetFuture"}


def test_sets_that_records_state() -> None:
    """Where each record states its set any word may stand there, and none is new."""
    listed: dict[ImageKey, dict[str, Any]] = {ImageKey("Future", "c"): {}}

    assert form_of(KINDS["uhost-image"], {}, listed).new == frozenset()


def test_undeclared_names_of_some() -> None:
    """A name that is not declared counts although other records state none such, before it or behind it."""
    listed: dict[str, dict[str, Any]] = {"a": {"gpu": True}, "b": {"extra": {"Level": 3}}, "c": {}}

    assert form({}, listed).new == {"extra.Level"}


def test_what_is_stated_and_what_is_new() -> None:
    """Declared names are stated as ours, others as the answer's behind `extra.`; only those nobody knew are new."""
    known: dict[str, dict[str, Any]] = {"a": {"os_name": "x", "extra": {"Odd": 1}}, "gone": {"extra": {"Past": 1}}}
    listed: dict[str, dict[str, Any]] = {"a": {"gpu": True, "extra": {"ODD": 1, "past": 2, "Level": 3, "OsType": 4}}}
    assert form(known, listed) == AnswerForm(
        stated=frozenset({"gpu", "extra.ODD", "extra.past", "extra.Level"}),
        missing=frozenset({"os_name"}),
        new=frozenset({"extra.Level"}),
    )


def test_ignored_in_any_spelling() -> None:
    """A field is left out whether it is named as the API does or as the output does, in any case."""
    known: dict[str, dict[str, Any]] = {"a": {"size_gb": 20, "os_name": "x"}}
    for ignored in ("ImageSize", "imagesize", "image_size", "size_gb", "SizeGB"):
        assert form(known, {"a": {}}, ignored).missing == {"os_name"}
        assert form(known, known, ignored).stated == {"os_name"}


def test_set_that_an_image_has_is_known() -> None:
    """A set is not new in which an image was known, in whatever case, although none of it is listed."""
    listed: dict[ImageKey, dict[str, Any]] = {ImageKey("futureimageset", "c"): {}, ImageKey("OtherImageSet", "d"): {}}
    known: dict[ImageKey, dict[str, Any]] = {ImageKey("FutureImageSet", "gone"): {}}
    assert form_of(UK8S_IMAGE, known, listed).new == {"set OtherImageSet"}


def test_without() -> None:
    """Names are left out in any case, and the others keep their own."""
    assert without(["A", "b", "C"], ["a", "B"]) == {"C"}
    assert without([], ["a"]) == frozenset()
