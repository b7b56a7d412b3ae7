"""
HCL and JSON read into a tree that keeps the place of every text. Pure.

A reader of our own: what parses HCL into values keeps the lines of blocks at most, and gives up at the first mistake.
This one reads on: what it does not understand, it passes over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from crawler.domain.scanner.tree import Choice, Node, TableNode, Text, Word

_TOKENS = (
    r"(?P<blank>[ \t\r\f\v\ufeff]+)|(?P<end>\n)|(?P<comment>\#[^\n]*|//[^\n]*|/\*.*?(?:\*/|\Z))"
    r"|<<-?\s*(?P<heredoc>[A-Za-z_][\w-]*)[ \t\r]*\n|(?P<quote>%s)"
    r"|(?P<word>-?[\w][\w-]*(?:\.(?:[\w*]|-)+)*)|(?P<sign>=>|==|!=|>=|<=|&&|\|\||.)"
)
_TOKEN = re.compile(_TOKENS % r"\"", re.DOTALL)
#: In JSON5 a text may stand in single quotes too, on one line.
_TOKEN_OF_JSON = re.compile(_TOKENS % r"\"|'(?=(?:[^'\\\n]|\\.){0,999}')", re.DOTALL)
_STRING = re.compile(r'(?:[^"\\$%\n]|\\.|\$\$\{|%%\{|[$%](?!\{))+', re.DOTALL)
#: In JSON, and what stands between quotes without a template.
_WHOLE = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)
_WHOLE_IN_SINGLE_QUOTES = re.compile(r"(?:[^'\\]|\\.)*", re.DOTALL)
#: Deeper than anything that people or tools write.
_DEEPEST = 150
#: Signs that nothing can end with: the value goes on in the next line.
_JOINING = frozenset({"?", ":", "&&", "||", "+", "==", "!=", ">=", "<="})


def _only_compared(operand: Node) -> Node:
    """Return an *operand* of a comparison: a text there is no value."""
    return Word(str(operand)) if isinstance(operand, Text) else operand


class TooDeep(ValueError):
    """What is read is nested deeper than any file that people or tools write."""

    def __init__(self) -> None:
        super().__init__("is nested too deeply")


def read_hcl(text: str) -> TableNode:
    """Return the blocks and attributes of *text*; raises TooDeep."""
    return _Reader(text, has_templates=True).body(is_top=True)


def read_json(text: str) -> list[Node]:
    """
    Return the values that *text* is in JSON, one as a rule; comments and missing commas are passed over.

    Raises TooDeep.
    """
    return list(_Reader(text, has_templates=False).documents())


class _Reader:
    def __init__(self, text: str, *, has_templates: bool) -> None:
        self.text = text
        self.has_templates = has_templates
        self.token = _TOKEN if has_templates else _TOKEN_OF_JSON
        self.position = 0
        self.depth = 0
        #: The kind and the text of the token that was read last.
        self.kind = ""
        self.piece = ""
        #: What stands at a position, looked at already: the kind, the text, and where it ends.
        self._ahead = (-1, "", "", -1)

    # --- tokens ------------------------------------------------------------------------------------------------------

    def _next(self) -> str:
        """Read a token that means something; return its kind, empty at the end."""
        if self._ahead[0] == self.position:
            _, self.kind, self.piece, self.position = self._ahead
            return self.kind
        while match := self.token.match(self.text, self.position):
            self.position = match.end()
            kind = match.lastgroup or ""
            if kind not in ("blank", "comment"):
                self.kind, self.piece = kind, match[kind]
                return kind
        self.kind = self.piece = ""
        return ""

    def _peek(self) -> tuple[str, str]:
        position, kind, piece = self.position, self.kind, self.piece
        self._next()
        self._ahead = (position, self.kind, self.piece, self.position)
        self.position, self.kind, self.piece = position, kind, piece
        return self._ahead[1:3]

    def _heredoc(self) -> Text:
        """Read to the line that ends the here-document just begun."""
        start = self.position
        end = re.compile(rf"^[ \t]*{re.escape(self.piece)}[ \t\r]*$", re.MULTILINE).search(self.text, start)
        stop = end.start() if end else len(self.text)
        self.position = end.end() if end else stop
        return Text(self.text[start:stop], start)

    def _string(self) -> Node:
        """Read to the quote that ends the text just begun; its templates are expressions."""
        start = self.position
        if not self.has_templates:
            match = (_WHOLE if self.piece == '"' else _WHOLE_IN_SINGLE_QUOTES).match(self.text, start)
            self.position = match.end() + 1 if match else start
            return Text(match.group() if match else "", start)
        parts: list[Node] = []
        while self.position < len(self.text):
            if match := _STRING.match(self.text, self.position):
                self.position = match.end()
            elif self.text[self.position] in "$%":
                self.position += 2
                parts.append(self.expression(ends="}"))
            else:
                break
        whole = Text(self.text[start : self.position], start)
        self.position += 1
        return Choice(parts) if parts else whole

    # --- structure ---------------------------------------------------------------------------------------------------

    def documents(self) -> Iterator[Node]:
        """Read value by value to the end; what closes nothing is passed over."""
        while self._peek()[0]:
            before = self.position
            yield self.expression()
            if self.position == before:
                self._next()

    def body(self, *, is_top: bool = False) -> TableNode:
        """Read members up to the closing brace, or to the end."""
        self._deeper()
        table = TableNode()
        while kind := self._next():
            if self.piece == "}" and kind == "sign":
                if is_top:
                    continue
                break
            if kind == "quote" or kind == "word":
                self._member(table, self.piece if kind == "word" else self._label())
            elif self.piece in ("(", "["):
                self._group(self.piece)
                if self._peek()[1] in ("=", ":", "=>"):
                    self._next()
                    table.members.append(("", self.expression()))
            elif self.piece == "{" and kind == "sign":
                table.members.append(("", self.body()))
        self.depth -= 1
        return table

    def _label(self) -> str:
        value = self._string()
        return str(value) if isinstance(value, Text) else ""

    def _member(self, table: TableNode, key: str) -> None:
        labels: list[str] = []
        while True:
            kind, piece = self._peek()
            if kind in ("word", "quote"):
                self._next()
                labels.append(piece if kind == "word" else self._label())
            elif piece in ("=", ":", "=>") and kind == "sign":
                self._next()
                table.members.append((labels[-1] if labels else key, self.expression()))
                return
            elif piece == "{" and kind == "sign":
                self._next()
                block = self.body()
                block.header = (key, *labels)
                table.members.append((key, block))
                return
            else:
                return

    def expression(self, ends: str = "") -> Node:
        """Read one value up to the end of the line, a comma, or what closes what is around it; or up to *ends*."""
        self._deeper()
        parts: list[Node] = []
        has_signs = is_compared = False
        while True:
            kind, piece = self._peek()
            if not kind or (kind == "sign" and piece in ("}", "]", ")")):
                if kind and piece == ends:
                    self._next()
                break
            if kind == "sign" and piece == "," and not ends:
                break
            if kind == "end":
                if not ends and parts and self.piece not in _JOINING:
                    break
                before = (self.kind, self.piece)
                self._next()
                self.kind, self.piece = before
                continue
            self._next()
            if kind == "sign" and piece not in ("{", "[", "("):
                has_signs = True
                if piece in ("==", "!="):
                    is_compared = True
                    parts[-1:] = map(_only_compared, parts[-1:])
                continue
            operand = self._operand(kind, piece)
            parts.append(_only_compared(operand) if is_compared else operand)
            is_compared = False
            self.piece = ""
        self.depth -= 1
        return parts[0] if len(parts) == 1 and not has_signs else Choice(parts)

    def _operand(self, kind: str, piece: str) -> Node:
        if kind == "quote":
            return self._string()
        if kind == "heredoc":
            return self._heredoc()
        if kind == "word":
            return Word(piece)
        return self.body() if piece == "{" else self._group(piece)

    def _group(self, opening: str) -> Node:
        """Read what stands between brackets or parentheses: a list, or the arguments of a call."""
        self._deeper()
        closing = "]" if opening == "[" else ")"
        elements: list[Node] = []
        while True:
            kind, piece = self._peek()
            if not kind:
                break
            if kind == "end" or (kind == "sign" and piece in (",", closing, "}", ")", "]")):
                if piece == "}":
                    break  # what is around closes before this does
                self._next()
                if piece == closing:
                    break
                continue
            elements.append(self.expression())
        self.depth -= 1
        return elements if opening == "[" else Choice(elements)

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise TooDeep
