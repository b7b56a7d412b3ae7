"""Small shared pieces of SQL: lists in portions, large results in pages, and inserts that leave existing rows alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from itertools import islice
from sys import intern
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BinaryExpression,
    Boolean,
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    LargeBinary,
    Table,
    Text,
    TypeDecorator,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from crawler.db.schema import Account, Base, TargetRow
from crawler.domain.models import Target, canonical_json

T = TypeVar("T")

#: Values in one IN list; far below every database's limit of parameters, and few enough to keep statements cached.
PORTION = 500
#: Rows in one INSERT of many.
INSERTED = 5000
#: Targets that are looked at together where all there are have to be; bounds the memory.
PAGE = 2_000
#: Execution options for a result with a row per target: not all of it is in memory at once.
PAGED = {"yield_per": 1000}

#: What `shared_target` makes a target of.
TARGET_COLUMNS = (
    *(Account.name, TargetRow.project, TargetRow.region),
    *(TargetRow.zone, TargetRow.kind, TargetRow.variant),
)


def portions(values: Iterable[T], size: int = PORTION) -> Iterator[list[T]]:
    """Yield *values* in lists of at most *size*."""
    iterator = iter(values)
    while portion := list(islice(iterator, size)):
        yield portion


def shared_target(*names: str) -> Target:
    """Return the target of these `TARGET_COLUMNS`; many targets share each of their names, in memory too."""
    return Target(*map(intern, names))


class among(FunctionElement[bool]):  # noqa: N801 - reads as a function, as SQLAlchemy's own do
    """
    Return whether a column is one of the values of a list parameter: `among(Interval.target_id, "targets")`.

    The list is one parameter (JSON on SQLite, an array on PostgreSQL), so that the statement is the same for every
    number of values, and is written and planned once.
    """

    name = "among"
    type = Boolean()
    inherit_cache = True
    # else SQLite gets `(… IN …) = 1`, which no index serves
    _is_implicitly_boolean = True

    def __init__(self, values: Any, parameter: str) -> None:
        super().__init__(values, bindparam(parameter, expanding=True, type_=values.type))


class _JsonList(TypeDecorator[Collection[Any]]):
    """A list as text: `[1,2]`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> str:
        values = list(value or ())
        if values and isinstance(values[0], int):  # there may be ten thousand
            return f"[{','.join(map(str, values))}]"
        return canonical_json(values)


class _ArrayText(TypeDecorator[Collection[int | str]]):
    """Whole numbers (or their digits) as PostgreSQL writes an array: `{1,2}`; the driver takes a microsecond each."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Collection[int | str] | None, dialect: Dialect) -> str:
        return "{" + ",".join(map(str, value or ())) + "}"


@compiles(among)
def _as_list(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = element.clauses
    if isinstance(values.type, LargeBinary):  # which JSON has no words for
        return compiler.process(column.in_(values), **options)
    listed = bindparam(values.key, type_=_JsonList())
    # as text: a subquery of SQLAlchemy's takes a millisecond to make
    return f"{compiler.process(column, **options)} IN (SELECT value FROM json_each({compiler.process(listed)}))"  # noqa: S608 - no text of anybody in it


@compiles(among, "postgresql")
def _as_array(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = element.clauses
    if isinstance(column, BinaryExpression):  # no index finds it, and PostgreSQL would go through the list for each row
        listed = compiler.process(_array(values), **options)
        return f"{compiler.process(column, **options)} IN (SELECT unnest({listed}))"
    return compiler.process(column == any_(_array(values)), **options)


def _array(values: Any) -> ColumnElement[Any]:
    kind = ARRAY(values.type)
    if isinstance(values.type, Integer):
        return cast(bindparam(values.key, type_=_ArrayText()), kind)
    return bindparam(values.key, type_=kind)


class among_too(among):  # noqa: N801 - as `among`
    """
    Tell the same by a join, on PostgreSQL: beside a list of another column, or for many texts with many rows each.

    Two arrays PostgreSQL looks up in every combination, by an index of both columns; one of texts it may go through
    for each row that it finds, which takes seconds where both are thousands.
    """

    inherit_cache = True


@compiles(among_too, "postgresql")
def _as_join(element: among_too, compiler: SQLCompiler, **options: Any) -> str:
    column, values = element.clauses
    return compiler.process(column.in_(select(func.unnest(_array(values)).column_valued())), **options)


class among_pairs(FunctionElement[bool]):  # noqa: N801 - reads as a function, as SQLAlchemy's own do
    """
    Return whether two columns of numbers are together one of the pairs of a list parameter, `[(1, 2), (3, 4)]`.

    Two conditions with `among` would ask for every combination, and PostgreSQL looks each of these up.
    """

    name = "among_pairs"
    type = Boolean()
    inherit_cache = True
    _is_implicitly_boolean = True

    def __init__(self, first: Any, second: Any, parameter: str) -> None:
        super().__init__(first, second, bindparam(parameter, type_=_JsonList()))


@compiles(among_pairs)
def _as_json_pairs(element: among_pairs, compiler: SQLCompiler, **options: Any) -> str:
    first, second, pairs = element.clauses
    listed = func.json_each(pairs).table_valued("value").c.value
    parts = select(func.json_extract(listed, "$[0]"), func.json_extract(listed, "$[1]"))
    return compiler.process(tuple_(first, second).in_(parts), **options)


@compiles(among_pairs, "postgresql")
def _as_jsonb_pairs(element: among_pairs, compiler: SQLCompiler, **options: Any) -> str:
    from sqlalchemy.dialects.postgresql import JSONB

    first, second, pairs = element.clauses
    listed = func.jsonb_array_elements(cast(pairs, JSONB)).column_valued()
    parts = select(*(cast(listed.op("->>")(part), BigInteger) for part in (0, 1)))
    return compiler.process(tuple_(first, second).in_(parts), **options)


def written(number: int) -> ColumnElement[int]:
    """Return a limit that is written into the statement: for a parameter PostgreSQL plans as if it were many rows."""
    return literal_column(str(int(number)), Integer)


def insert_missing(conn: Connection, table: type[Base], rows: Iterable[Mapping[str, Any]]) -> None:
    """
    Insert *rows* and leave alone those that exist already under a unique key.

    Rows that several writers may share (versions, payloads, scopes) go in through here, sorted by their key, so that
    two workers on one PostgreSQL neither collide nor wait for each other in a circle.
    """
    for portion in portions(rows, INSERTED):
        conn.execute(_insert_missing(table.__table__, conn.dialect.name), [dict(row) for row in portion])


@cache
def _insert_missing(table: Table, dialect: str) -> Any:
    # a dialect is loaded by whoever needs it: PostgreSQL's brings drivers that nobody uses
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table).on_conflict_do_nothing()
