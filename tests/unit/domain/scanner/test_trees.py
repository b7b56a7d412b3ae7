"""What HCL, JSON and YAML are read into: every text with its place, and what cannot be read passed over."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.domain.scanner.hcl import TooDeep, read_hcl, read_json
from crawler.domain.scanner.tree import Choice, Node, TableNode, Text, Word
from crawler.domain.scanner.yaml_tree import NoYaml, read_yaml


def plain(node: Node) -> Any:
    """Return a tree as plain values: a text with its place, an expression as a tuple, a header under an empty name."""
    if isinstance(node, TableNode):
        return {
            **({"": node.header} if node.header else {}),
            **{key or "()": plain(value) for key, value in node.members},
        }
    if isinstance(node, Choice):
        return tuple(plain(part) for part in node.parts)
    if isinstance(node, Text):
        return f"@{node.at} {node}"
    return node.text if isinstance(node, Word) else [plain(element) for element in node]


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('a = "x"', {"a": "@5 x"}),
        ('a: "x"', {"a": "@4 x"}),
        ('a => "x", b = 1', {"a": "@6 x", "b": "1"}),
        ('resource "t" "n" {\n  a = 1\n}\nb = 2', {"resource": {"": ("resource", "t", "n"), "a": "1"}, "b": "2"}),
        ("locals {}", {"locals": {"": ("locals",)}}),
        ('a "b" = 1', {"b": "1"}),
        ("a\nb = 1", {"b": "1"}),
        ("} a = 1", {"a": "1"}),
        ("a { b = 1 }} c = 2", {"a": {"": ("a",), "b": "1"}, "c": "2"}),
        ("a = <<EOT\none\n  EOT\nb = 1", {"a": "@10 one\n", "b": "1"}),
        ("a = <<-EOT\n one\n EOT \nb = 1", {"a": "@11  one\n", "b": "1"}),
        ("a = <<EOT\none", {"a": "@10 one"}),
        ("a = <<EOT\n# no EOT\nEOTS\nEOT\n", {"a": "@10 # no EOT\nEOTS\n"}),
        ('a = "${var.x}"', {"a": ("var.x",)}),
        ('a = "b ${c("d")} e"', {"a": (("c", ("@12 d",)),)}),
        ('a = "%{ if x }y%{ endif }"', {"a": (("if", "x"), "endif")}),
        ('a = "$${b}" \nc="%%{d}"', {"a": "@5 $${b}", "c": "@16 %%{d}"}),
        ('a = "\\"" b', {"a": ('@5 \\"', "b")}),
        ('a = "b\nc = "d"', {"a": ("@5 b", "c", "@12 d")}),
        ('a = "b', {"a": "@5 b"}),
        ('a = "$b %c"', {"a": "@5 $b %c"}),
        ('a = "${"${"x"}"}"', {"a": (("@11 x",),)}),
        ('a = x ? "b" : "c"\nd = 1', {"a": ("x", "@9 b", "@15 c"), "d": "1"}),
        ('a = x ?\n"b" :\n"c"\nd = 1', {"a": ("x", "@9 b", "@15 c"), "d": "1"}),
        ('a = x\n? "b"', {"a": "x"}),
        ("a = -1", {"a": "-1"}),
        ("a = (1)", {"a": ("1",)}),
        ('a = f("x", "y")\nb=1', {"a": ("f", ("@7 x", "@12 y")), "b": "1"}),
        ('a = "x".y', {"a": ("@5 x", "y")}),
        ('a = { b = 1, "c" : 2 }', {"a": {"b": "1", "c": "2"}}),
        ('a = {\n(b) = 1\n["c"] = 2\n}', {"a": {"()": "2"}}),
        ("a = {{ b = 1 }}", {"a": {"()": {"b": "1"}}}),
        ('a = [1, "b",\n 2,\n]', {"a": ["1", "@9 b", "2"]}),
        ("a = [1)\nb = 2", {"a": ["1", ("b", "2")]}),
        ("a = [1 }\nb = 2", {"a": ["1"], "b": "2"}),
        ("a = { b = [1 }\nc = 2", {"a": {"b": ["1"]}, "c": "2"}),
        ("a = [\n\n1\n2]", {"a": ["1", "2"]}),
        ("a = [[1],[2]]", {"a": [["1"], ["2"]]}),
        ("a = 1 # c\nb = 2 // d\nc /* e\n = */ = 3", {"a": "1", "b": "2", "c": "3"}),
        ("a = 1 /* b = 2", {"a": "1"}),
        ("a = [for x in y : x.id]", {"a": [("for", "x", "in", "y", "x.id")]}),
        ("a = {for k, v in m : k => v}", {"a": {"m": ("k", "v")}}),
        ("a = x[0].y", {"a": ("x", ["0"], "y")}),
        ("a = b.c.*.d", {"a": "b.c.*.d"}),
        ('a =\n"b"', {"a": "@5 b"}),
        ('a = \n\n"b"', {"a": "@7 b"}),
        ('a = "b", c = "d"', {"a": "@5 b", "c": "@14 d"}),
        ('a = "b" c = "d"', {"a": ("@5 b", "c", "@13 d")}),
        ('a = b == "c" || d', {"a": ("b", "c", "d")}),
        ('a = "b" != c ? "d" : "e"', {"a": ("b", "c", "@16 d", "@22 e")}),
        ('a = ["b"] == [c] ? "d" : "e"', {"a": (["@6 b"], ["c"], "@20 d", "@26 e")}),
        ('a = == "b"', {"a": ("b",)}),
        ("\ufeffa = 1", {"a": "1"}),
        ('a = "b"\r\nc = "d"\r\n', {"a": "@5 b", "c": "@14 d"}),
        ('"a" = 1', {"a": "1"}),
        ('a = (\n"b"\n)', {"a": ("@7 b",)}),
        ('a = x == "y" ? [\n"z"] : []', {"a": ("x", "y", ["@18 z"], [])}),
        ('a = f(x,\n"b")', {"a": ("f", ("x", "@10 b"))}),
        ('a = "x${b', {"a": ("b",)}),
        ('a = "x${b}\nc = 1', {"a": (("b",), "c", "1")}),
        ("a = 'b'\nc = \"d\"", {"a": ("b",), "c": "@13 d"}),
        ("a = f(b ]\nc) + d\ne = 1", {"a": ("f", ("b", "c"), "d"), "e": "1"}),
        ("a = <<E\none\nE\nb = <<E\ntwo\nE\n", {"a": "@8 one\n", "b": "@22 two\n"}),
        ('a "b${c}" "d" {}', {"a": {"": ("a", "", "d")}}),
        ('a = x ? "b" : c == "d" ? "e" : f', {"a": ("x", "@9 b", "c", "d", "@26 e", "f")}),
        ('a = "b" + "c" == d', {"a": ("@5 b", "c", "d")}),
        ("a = !b", {"a": ("b",)}),
        ("a = b + c - d", {"a": ("b", "c", "d")}),
    ],
)
def test_hcl(text: str, tree: Any) -> None:
    """Attributes, blocks and their labels, expressions and templates; a mistake does not end the reading."""
    assert plain(read_hcl(text)) == tree


@pytest.mark.parametrize(
    ("text", "trees"),
    [
        ('{"a": "x"}', [{"a": "@7 x"}]),
        ('{"a": 1, "b": [true, null, -2.5e3]}', [{"a": "1", "b": ["true", "null", "-2.5e3"]}]),
        ("{} {}", [({}, {})]),
        ("[1] 2 ]3", [(["1"], "2"), (), "3"]),
        ('{"a": "b\\"c"}', [{"a": '@7 b\\"c'}]),
        ('{"a": "${x}"}', [{"a": "@7 ${x}"}]),
        ('{"a" "b": 1}', [{"b": "1"}]),
        ('{"a": "b', [{"a": "@7 b"}]),
        ('"a', ["@1 a"]),
        ("", []),
        ('{"a": {"b": []}} // c', [{"a": {"b": []}}]),
        ('{"a": 1 "b": 2}', [{"a": ("1", "@9 b", "2")}]),
        ('{"a": "b\nc"}', [{"a": "@7 b\nc"}]),
        ("} 1", [(), "1"]),
        ('[{"a":"b"},"c"]', [[{"a": "@7 b"}, "@12 c"]]),
        ('{"a": 1,}', [{"a": "1"}]),
        ('{"a": 1e5, "b": 1.25}', [{"a": "1e5", "b": "1.25"}]),
        ("{a: 'b', 'c': \"d's\", e: 'f\\'\"'}", [{"a": "@5 b", "c": "@15 d's", "e": "@25 f\\'\""}]),
        ("{a: it's\n, b: 'c'}", [{"a": ("it", "s"), "b": "@15 c"}]),
    ],
)
def test_json(text: str, trees: list[Any]) -> None:
    """One value or several; templates are none here, and a mistake does not end the reading."""
    assert [plain(one) for one in read_json(text)] == trees


@pytest.mark.parametrize(
    ("text", "trees"),
    [
        ("a: b", [{"a": "@3 b"}]),
        ('a: "b c"', [{"a": "@4 b c"}]),
        ("a: 'b'", [{"a": "@4 b"}]),
        ("a: |\n  b\n  c\nd: 1", [{"a": "@7 b\n  c", "d": "@16 1"}]),
        ("a: >-\n\n  b\n\nd: e", [{"a": "@9 b", "d": "@15 e"}]),
        ("a: |2\n   b\n", [{"a": "@9 b"}]),
        ("- a\n- b", [["@2 a", "@6 b"]]),
        ('[a, "b", {c: d}]', [["@1 a", "@5 b", {"c": "@13 d"}]]),
        ("a: &x b\nc: *x", [{"a": "@6 b", "c": "@6 b"}]),
        ("a: &x\n  # y\n  b\nc: !!str d", [{"a": "@14 b", "c": "@25 d"}]),
        ("a: &x # y\n  {b: c}\nd: *x", [{"a": {"b": "@16 c"}, "d": {"b": "@16 c"}}]),
        ("a: {<<: {b: 1, c: 2}, b: 3}", [{"a": {"b": "@25 3", "c": "@18 2"}}]),
        (
            "x: &x {b: 1}\ny: &y {b: 2, c: 3}\na:\n  <<: [*x, *y]\n  d: 4",
            [{"x": {"b": "@10 1"}, "y": {"b": "@23 2", "c": "@29 3"}, "a": {"d": "@55 4", "b": "@10 1", "c": "@29 3"}}],
        ),
        ("<<: b\na: c", [{"a": "@9 c"}]),
        ("? [a, b]\n: c", [{"()": "@11 c"}]),
        ("--- \na\n---\n---\nb\n", ["@5 a", "@11 ", "@15 b"]),
        ("", []),
        ("# a\n", []),
        ("a: {{ x }}\nb: c", [{"a": ("@3 {{ x }}",), "b": "@14 c"}]),
        ('a: "{{ x }}"', [{"a": "@4 {{ x }}"}]),
        ("{% if x %}\na: b\n{% endif %}\nc: d", [{"a": "@14 b", "c": "@31 d"}]),
        ("{{- range x }}\na: b # {{ c }}\n{{ end -}}\n", [{"a": "@18 b"}]),
        ("a:\n", [{"a": "@2 "}]),
        ("a: ~", [{"a": "@3 ~"}]),
        ("名: 像\nb: c", [{"名": "@3 像", "b": "@8 c"}]),
        ("a: b\r\nc: |\r\n  d\r\n", [{"a": "@3 b", "c": "@14 d"}]),
        ('"a b": c', [{"a b": "@7 c"}]),
        ("a: b  # c", [{"a": "@3 b"}]),
        ("a: !!binary aGk=\n", [{"a": "@12 aGk="}]),
        ("1: 2", [{"1": "@3 2"}]),
        ("- - a\n  - b\n-\n", [[["@4 a", "@10 b"], "@13 "]]),
        ("a: b\n  c\nd: e", [{"a": "@3 b\n  c", "d": "@12 e"}]),
        ("{{ a }} {{ b }}\nc: d", [{"c": "@19 d"}]),
        ("  {{ if {a} }}  \r\nc: d", [{"c": "@21 d"}]),
        ("a: {% b %}", [{"a": "@3 {% b %}"}]),
        ("a: x{{ y }}z", [{"a": ("@3 x{{ y }}z",)}]),
    ],
)
def test_yaml(text: str, trees: list[Any]) -> None:
    """Every document, each alias as what it names, merged members behind the own ones, and templates covered."""
    assert [plain(one) for one in read_yaml(text)] == trees


@pytest.mark.parametrize("text", ["a: b: c", "a: [b", "a: {{ b\n}}\nc: d"])
def test_no_yaml(text: str) -> None:
    """What the parser refuses is told in words."""
    with pytest.raises(NoYaml, match=r"^is no YAML$"):
        read_yaml(text)


@pytest.mark.parametrize(
    ("opening", "deepest"),
    [
        ("a {\n", 149),
        ("a = {\n", 74),
        ("[", 74),
        ("f(", 74),
        ("a { b {}\n", 148),
        ("a = { b = 1\n", 74),
        ("[[],", 73),
        ("f(f(),", 73),
    ],
)
def test_depth_of_hcl(opening: str, deepest: int) -> None:
    """A hundred and fifty levels are read, of which a value in another is two; more are refused."""
    begin = "" if opening.startswith("a") else "a = "
    read_hcl(begin + opening * deepest)

    with pytest.raises(TooDeep, match=r"^is nested too deeply$"):
        read_hcl(begin + opening * (deepest + 1))


@pytest.mark.parametrize("text", ["a { b = [1, f({c = 2})] }\n", 'a = "${b["c"]}" ? (1) : [[2]]\n', "a = [}\n"])
def test_width_of_hcl(text: str) -> None:
    """What stands side by side is not nested."""
    assert len(read_hcl(text * 400).members) == 400


@pytest.mark.parametrize(("opening", "closing", "deepest"), [("[", "]", 150), ("{a: ", "}", 150), ("- ", "", 150)])
def test_depth_of_yaml(opening: str, closing: str, deepest: int) -> None:
    """A hundred and fifty levels are read; more are refused."""
    read_yaml(opening * deepest + "b" + closing * deepest)

    with pytest.raises(TooDeep):
        read_yaml(opening * (deepest + 1) + "b" + closing * (deepest + 1))


def test_depth_of_blocks() -> None:
    """So are those of mappings in blocks."""
    lines = [f"{' ' * depth}a:" for depth in range(150)]
    read_yaml("\n".join(lines))

    with pytest.raises(TooDeep):
        read_yaml("\n".join([*lines, f"{' ' * 150}a:", f"{' ' * 151}b"]))


@pytest.mark.parametrize("text", ["a: &x [*x]", "a: &x {b: *x}"])
def test_anchor_in_itself(text: str) -> None:
    """What holds itself has no end."""
    with pytest.raises(TooDeep):
        read_yaml(text)


def test_width_of_yaml() -> None:
    """What stands side by side is not nested."""
    assert len(read_yaml("- [{a: [b]}]\n" * 400)[0]) == 400  # type: ignore[arg-type]  # a list, as is seen before


def test_size_of_yaml() -> None:
    """What has many values is no more nested for that, be it one document or many, as rendered manifests are."""
    assert len(read_yaml(f"[{'a,' * 200_001}]\n")[0]) == 200_001  # type: ignore[arg-type]  # a list, as is seen before
    assert len(read_yaml("---\n- b\n" * 100_001)) == 100_001
