"""The traps: rewrites a well-formed answer into one of the odd shapes that a reader has to live with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_DOUBLE_I = {"CustomImageSet": "CustomIImageSet", "CustomPHostImageSet": "PHostCustomIImageSet"}


def disguise(document: Mapping[str, Any], quirks: frozenset[str], *, turn: int = 0) -> dict[str, Any]:
    """Return *document* with the *quirks* applied; *turn* decides the order of shuffled records."""
    result = {name: _set(name, value, quirks, turn) for name, value in document.items()}
    if "omit-empty-sets" in quirks:
        result = {name: value for name, value in result.items() if not (_is_set(name) and value in ([], None))}
    if "double-i-sets" in quirks:
        result = {_DOUBLE_I.get(name, name): value for name, value in result.items()}
    if "set-new" in quirks and "ImageSet" in result:
        result["ImageSetnew"] = result.pop("ImageSet")
    if "unknown-set" in quirks and any(map(_is_set, result)):
        result["EdgeImageSet"] = [{"ImageId": "uimage-edge", "ImageName": "Edge 1.0", "NotSupportGPU": True}]
    if "message-on-success" in quirks:
        result["Message"] = "Success"
    if "string-ret-code" in quirks:
        result["RetCode"] = str(result["RetCode"])
    if "lower-case-keys" in quirks:
        return dict(_rekeyed(result, str.lower))
    if "upper-case-keys" in quirks:
        return dict(_rekeyed(result, str.upper))
    return result


def _set(name: str, value: Any, quirks: frozenset[str], turn: int) -> Any:
    if not _is_set(name):
        return value
    if not isinstance(value, list):
        return value
    records = [_record(record, quirks) for record in value]
    if "bare-custom-ids" in quirks and "custom" in name.lower():
        records = [record.get("ImageId") if isinstance(record, dict) else record for record in records]
    if "duplicate-records" in quirks:
        records = [record for record in records for _ in range(2)]
    if "shuffled-records" in quirks and records:
        offset = turn % len(records)
        records = records[offset:] + records[:offset]
    if "null-sets" in quirks and not records:
        return None
    return records


def _record(record: Any, quirks: frozenset[str]) -> Any:
    if not isinstance(record, dict):
        return record
    changed = dict(record)
    if "no-zone-id" in quirks:
        changed.pop("ZoneId", None)
    if "unknown-field" in quirks:
        changed["BootMode"] = "UEFI"
    if "text-values" in quirks:
        changed = {name: _as_text(value) for name, value in changed.items()}
    return changed


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


def _is_set(name: str) -> bool:
    return "imageset" in name.lower()


def _rekeyed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {change(name): _rekeyed(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rekeyed(inner, change) for inner in value]
    return value
