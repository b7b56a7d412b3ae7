"""The columns of the public views, in order, each with its meaning; the README tells them, a test compares."""

from __future__ import annotations

_TARGET = {
    "target_id": "the target's number; joins the views",
    "account": "name of the account",
    "project": "project id; `default` where none is sent",
    "project_name": "last known name of the project",
    "region": "region, as the cloud names it",
    "zone": "zone, as the cloud names it",
    "kind": "what is inventoried: `uk8s-image`",
    "variant": "named set of request parameters; `default` adds none",
}
_IMAGE = {
    "image_set": "canonical name of the set that lists it",
    "image_id": "the id to boot from",
    "image_name": "name, NULL where the cloud states none",
    "gpu": "supports GPU; NULL: not stated",
    "os_type": "operating system family",
    "os_name": "operating system",
    "features": "features, a JSON list",
    "gpu_types": "supported GPU types, a JSON list",
    "software": "integrated software",
    "size_gb": "size in GB",
    "zone_id": "the zone's number, as the record states it",
    "extra": "fields nobody knew, a JSON object",
    "attributes": "all of these as one JSON object",
}
_STATE = {
    "state": "`present` or `unknown`, now; NULL once the interval is over",
    "reason": (
        "why unknown: `retired`, `deselected`, `held`, `denied`, `failed`, `skipped`, "
        "`stale` (older than `stale_after`), `never_observed`"
    ),
    "observed_at": "end of the last run that observed the target well",
    "observed_at_epoch": "the same in seconds since 1970",
}


def _instant(name: str, meaning: str) -> dict[str, str]:
    return {name: meaning, f"{name}_epoch": "the same in seconds since 1970"}


#: Every column of every view, in order, with its meaning.
VIEW_COLUMNS: dict[str, dict[str, str]] = {
    "current_images": {
        **_TARGET,
        **_IMAGE,
        **_instant("valid_from", "since when it is so, with exactly these attributes"),
        **_instant("present_since", "since when it has been there without a break, whatever its attributes"),
        "baseline": "true: it was there before anyone looked",
        "superseded_by": "id of the image of its set and name here that came last, after it; NULL: none or several",
        **_STATE,
    },
    "image_history": {
        "interval_id": "number of the interval",
        **_TARGET,
        **_IMAGE,
        **_instant("valid_from", "start of the interval, included"),
        **_instant("valid_to", "end of the interval, not included; NULL while open"),
        "is_open": "true: the interval has not ended",
        **_instant("present_since", "start of the unbroken presence this interval is part of"),
        "baseline": "true: it was there before anyone looked",
        "opened_run": "run that opened it",
        "closed_run": "run that closed it; NULL while open",
        **_STATE,
    },
    "change_log": {
        "id": "number of the change",
        "run": "run that recorded it",
        **_TARGET,
        "event": "`appeared`, `returned`, `withdrawn`, `modified`, `target_added`, `target_retired`",
        "image_set": "canonical name of the set; NULL for events of targets, as the next two",
        "image_id": "the image",
        "image_name": "its name then",
        "fields": "`{field: [before, after]}` of a modified image, a JSON object",
        "counterpart": "image id of the other half of a re-issue",
        **_instant("not_before", "the good observation before it: it happened after this; NULL: unknown"),
        **_instant("observed_at", "the answer that showed it: it happened at or before this"),
        **_instant("recorded_at", "when it was written; poll by this one"),
    },
    "coverage": {
        **_TARGET,
        "run": "a finished run that asked the target",
        "outcome": "`ok`, `held`, `denied`, `failed`, `skipped`",
        "is_good": "true for `ok` and `held`: the images of the target were observed",
        **_instant("started_at", "start of the run"),
        **_instant("finished_at", "end of the run"),
        "failure_class": "class of the failure; NULL where there is none",
        "ret_code": "the cloud's RetCode, where it gave one",
        "message": "the first message of this lasting failure",
        "request_uuid": "the request id of that answer",
    },
    "unknown_spans": {
        **_TARGET,
        "image_set": "canonical name of the set; NULL: of the whole target",
        "image_id": "the image that is on hold; NULL: all images of the target",
        "reason": "`retired`, `deselected` (of targets), `held` (of images); failed runs are in `coverage`",
        **_instant("unknown_from", "start of the span, included"),
        **_instant("unknown_to", "end of the span, not included; NULL while it lasts"),
        "is_open": "true: it lasts",
    },
    "run_log": {
        "run": "number of the run",
        "status": "`running`, `complete`, `incomplete`, `failed`, `interrupted`",
        **_instant("started_at", "start"),
        **_instant("finished_at", "end; NULL while it runs, or died and no later run has noted it yet"),
        "is_open": "true: no end is recorded",
        "accounts": "names of its accounts, a JSON list",
        "restricted": "true: narrowed on the command line",
        "targets": "targets it was to ask (of a killed run: that it had recorded)",
        "ok": "targets observed well",
        "held": "targets whose withdrawals wait for confirmation",
        "denied": "targets not open to this key",
        "failed": "targets whose answer failed",
        "skipped": "targets not asked",
        "baseline_targets": "targets observed well for the first time",
        "baseline_images": "images found there",
        "appeared": "changes of this event, as the next five",
        "returned": "changes",
        "withdrawn": "changes",
        "modified": "changes",
        "target_added": "changes",
        "target_retired": "changes",
        "sent": "requests sent",
        "retried": "of these, second and later attempts",
        "throttled": "of these, answered with a refusal for speed",
        "notices": "what was not understood, a JSON list; NULL: nothing",
    },
}
VIEWS: tuple[str, ...] = tuple(VIEW_COLUMNS)
