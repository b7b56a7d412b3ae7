"""
What in a file is an image id, a key that holds one, a zone, or a comment about an id. Pure.

A key holds ids when its last word is `image_id`, in whatever spelling (`imageId`, `pool_image_id`, `Nodes.0.ImageId`,
`--image-id`). A comment `ucloud-image: ZONE/NAME` names zone and image for the id on its line, or else on the next one;
`crawler: ignore` takes back what stands on its line. In JSON the former may be the text of a member `"//"`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import unquote

#: What happens when the id at a place is changed to another.
Effect = Literal["later-nodes", "nothing", "replaces-cluster", "reinstalls-machine", "rebuilds-image", "unknown"]
EFFECTS: tuple[Effect, ...] = (
    "later-nodes", "nothing", "replaces-cluster", "reinstalls-machine", "rebuilds-image", "unknown",
)  # fmt: skip

_ID = r"(?:u?image|bsi)-[a-z0-9]+"
IMAGE_ID = re.compile(_ID)
#: What an id does not follow, but for the default in `${IMAGE_ID:-ID}`.
_BEFORE = r"(?:(?<![\w.-])|(?<=:-))"
#: An id that stands by itself in a text.
ID_IN_TEXT = re.compile(rf"{_BEFORE}(?P<id>{_ID})(?![\w-]|\.\w)")
#: The same in bytes; a file without it is not parsed.
ID_IN_BYTES = re.compile(rf"{_BEFORE}{_ID}(?![\w-]|\.\w)".encode())
#: An id in quotes, inside an expression or a template, or the default of a variable of a shell.
QUOTED_ID = re.compile(rf"""(?:["']|:[-=])(?P<id>{_ID})(?:\\?["']|\}})""")

_PREFIX = r"(?:(?P<prefix>.*?)(?:[_.\-]|(?<=[a-z0-9])(?=[A-Z])))??"
_INDEX = r"(?:\.\d+|\[\d+\])?"
_IMAGE_KEY = re.compile(rf"{_PREFIX}(?:image|Image|IMAGE)[_-]?(?:id|Id|ID)[sS]?{_INDEX}")
_ZONE_KEY = re.compile(rf"{_PREFIX}(?:(?:a|A)vailability[_-]?(?:z|Z)one|AVAILABILITY_ZONE|zone|Zone|ZONE)[sS]?{_INDEX}")
_ZONES_KEY = re.compile(r"(?:.*[_.:\-])?(?:zones|Zones|ZONES)")
_ZONE = re.compile(r"[A-Za-z0-9]{1,20}(?:-[A-Za-z0-9]{1,20}){1,4}")
_NUMBERED_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*-[A-Za-z]{0,2}\d{1,2}")
#: The element of a list, at the end of a path of JSON.
_ELEMENT = re.compile(r"/(?:\d+|-)\Z")
#: What stands between a key and its value, in assignments, members and options; the value may have an anchor of YAML
#: before it, or be a shell's default.
_IS = r"""\\?["']?(?:\s*(?::{1,2}=|[?+]=|[:=])\s*|:[-=]|[ \t]+)(?:&\w[\w-]*[ \t]+)?\\?["']?(?:\$\{\w+:[-=])?"""
_KEY_IN_TEXT = r"(?<![\w.\-])(?P<key>[\w.\-]*?[iI][mM][aA][gG][eE][_-]?[iI][dD][sS]?(?:\.\d+)?)"
_TEST = r"""(?:(?<=\$)\w+\\?["']|(?:(?<=\[ \$)|(?<=test \$))\w+)\s*="""
#: A variable of a shell that is only compared, as in `[ "$ZONE" = hk-02 ]`: what stands there is no value of it.
TESTED = re.compile(_TEST)
#: Ids and zones behind a key, inside a text of any sort.
ASSIGNED_ID = re.compile(rf"(?<![\w.\-])(?!{_TEST}){_KEY_IN_TEXT}{_IS}(?P<id>{_ID})(?![\w-]|\.\w)")
#: One more id of a value that holds several.
FURTHER_ID = re.compile(rf"[\s,;]{{1,4}}(?P<id>{_ID})(?![\w-]|\.\w)")
_QUOTE = r"""\\?["']?"""
#: An id that a patch of JSON sets: `{"op": "replace", "path": "/spec/imageId", "value": "ID"}`, or the same as YAML.
PATCHED_ID = re.compile(
    rf"(?:(?<!\w)op{_QUOTE}\s*:\s*{_QUOTE}(?P<op>\w+){_QUOTE}\s*,?\s*{_QUOTE})?(?<!\w)path{_QUOTE}\s*:\s*{_QUOTE}"
    rf"(?P<path>/[\w.~/\-]+){_QUOTE}\s*,?\s*{_QUOTE}value{_QUOTE}\s*:\s*{_QUOTE}(?P<id>{_ID})(?![\w-]|\.\w)"
)
#: Where the array of a shell begins, or a list of JSON in a text; and its elements, which a shell may give by zone.
ASSIGNED_LIST = re.compile(rf"""{_KEY_IN_TEXT}\\?["']?\s*(?:\+?=|:)\s*(?P<opening>[(\[])""")
ELEMENT_ID = re.compile(rf"""(?:\[["']?(?P<zone>[\w-]+)["']?\]=["']?)?(?<![\w.-])(?P<id>{_ID})(?![\w-]|\.\w)""")
#: The value may be that of a variable, called `name`, or what only a run tells.
ASSIGNED_ZONE = re.compile(
    rf"(?<![\w.\-])(?P<key>[\w\-]*?(?:availability[_-]?zone|zone)){_IS}"
    r"(?:(?P<zone>[A-Za-z0-9-]+)|\$[{(]*\s*(?:\w+\.)*(?P<name>\w+)|\{\{)",
    re.IGNORECASE,
)
#: What sets a variable of a shell: to what is written out, or to the value of another; a loop sets it to several.
ASSIGNED_VARIABLE = re.compile(
    r"(?<![\w.\-$])(?:(?P<key>[A-Za-z_]\w*)=[\"']?(?:\$\{\w+:[-=])?(?:(?P<zone>[A-Za-z0-9-]+)|\$[{(]*(?P<name>\w+))"
    r"|for\s+(?P<loop>\w+)\s+in\b)"
)
_MARK = r"(?:\#|//|/\*)"
#: JSON has no comments, but members `"//"`, whose text ends with a quote.
_NAMED = re.compile(
    rf"{_MARK}(?P<member>(?<=\"//)\"\s*:\s*\")?\s*ucloud-image:\s*(?P<zone>[^\s/]+)/"
    r"(?P<name>(?(member)[^\s\"]+|\S+))"
)
#: Comments of a line; a block may go on in the next one.
_COMMENT = re.compile(r"(?:^|(?<=[\s;]))(?:(?:#|//).*$|/\*.*?(?:\*/|$))", re.MULTILINE)
_IGNORED = re.compile(rf"{_MARK}\s*crawler:\s*ignore\b")


def image_key(key: str) -> str | None:
    """Return the words before `image_id` in *key*, empty where there are none; None when it holds no id."""
    return _prefix(_IMAGE_KEY, key)


def key_of_patch(op: str | None, path: str) -> str:
    """Return the key whose value a patch of JSON sets at *path*; empty where it only tests that."""
    return "" if op == "test" else _ELEMENT.sub("", path).rpartition("/")[2]


def zone_key(key: str) -> str | None:
    """Return the words before `zone` or `availability_zone` in *key*; None when it names no zone."""
    if _ZONES_KEY.fullmatch(key) and "vailability" not in key and "AVAILABILITY" not in key:
        return None
    return _prefix(_ZONE_KEY, key)


def is_key_of_zones(key: str) -> bool:
    """Return whether the last word of *key* is a zone or zones: a table under it may have a member for each."""
    return _prefix(_ZONE_KEY, key) is not None


def _prefix(pattern: re.Pattern[str], key: str) -> str | None:
    if ":" in key:  # Pulumi's stacks have the project before each key: `infra:imageId`
        key = key.rpartition(":")[2]
    if len(key) > 200 or not (match := pattern.fullmatch(key)):
        return None
    return (match["prefix"] or "").strip("-_.").casefold()


def is_image_id(text: str) -> bool:
    """Return whether *text* is an image id and nothing else."""
    return IMAGE_ID.fullmatch(text) is not None


def is_zone(text: str) -> bool:
    """Return whether *text*, which stands where a zone should, looks like one."""
    return _ZONE.fullmatch(text) is not None and not is_image_id(text)


def is_zone_by_itself(text: str) -> bool:
    """Return whether *text* looks like a zone wherever it stands: it ends in a number."""
    return _NUMBERED_ZONE.fullmatch(text) is not None and not is_image_id(text)


# --- comments --------------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """What a comment says of the id on a line."""

    zone: str
    #: The normalised name, with `-` for spaces.
    name: str


class Comments(NamedTuple):
    """What the comments of a text say, by the number of the line they are about."""

    named: Mapping[int, Said]
    ignored: frozenset[int]


def read_comments(text: str) -> Comments:
    """Return what the comments in *text* say of ids."""
    named: dict[int, Said] = {}
    ignored: set[int] = set()
    if "ucloud-image:" not in text and "crawler:" not in text:
        return Comments(named, frozenset())
    for number, line in enumerate(text.split("\n"), start=1):
        if _IGNORED.search(line):
            ignored.add(number)
        match = _NAMED.search(line)
        if match and is_zone(match["zone"]):
            if match["member"]:
                line = line[: match.start()] + line[match.end() :].partition('"')[2]
            own = ID_IN_TEXT.findall(uncommented(line))
            if match["member"] and len(own) > 1:
                continue  # a line of JSON may be all of it
            named[number if own else number + 1] = Said(match["zone"], name_in_comment(unquote(match["name"])))
    return Comments(named, frozenset(ignored))


def uncommented(line: str) -> str:
    """Return a *line* with blanks for its comments: ids that they tell of are no pins."""
    return _COMMENT.sub(lambda match: " " * len(match.group()), line)


def name_in_comment(name: str) -> str:
    """Return an image's normalised *name* as comments write it, with `-` for spaces."""
    return "-".join(name.removesuffix("*/").casefold().split())
