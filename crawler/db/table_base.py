"""
How a table is declared: a class with a line for each column, whose attributes are SQLAlchemy's columns.

As its ORM has it, without the ORM: nothing here keeps objects, and loading it would take a reader longer than all else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from sqlalchemy import Boolean, Column, FromClause, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import NullType, TypeEngine

from crawler.db.types import CanonicalJSON, UTCDateTime

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
#: Of a column without a type of its own, the one that its annotation means; a foreign key has that of its target.
_TYPES: Mapping[str, type[TypeEngine[Any]]] = {
    "int": Integer,
    "bool": Boolean,
    "str": Text,
    "bytes": LargeBinary,
    "datetime": UTCDateTime,
    "list[Any]": CanonicalJSON,
    "dict[str, Any]": CanonicalJSON,
}
_ANNOTATION = re.compile(r"ColumnClause\[(?P<type>.*?)(?P<nullable> \| None)?\]")


def column(*arguments: Any, **options: Any) -> Any:
    """Return a column for the class of a table, which gives it its name; *arguments* and *options* are `Column`'s."""
    return Column(*arguments, **options)


#: Stands for an index in the class of a table: one of PostgreSQL's kinds loads all its drivers, which no reader needs.
index = partial(partial, Index)


class Base:
    """What the classes of tables have in common; stands for its table wherever SQLAlchemy takes one."""

    #: Carries the naming convention from the first migration on.
    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMING)
    __tablename__: ClassVar[str]
    #: Constraints, indexes, and options in a mapping.
    __table_args__: ClassVar[tuple[Any, ...]] = ()
    __table__: ClassVar[Table]
    #: What the metadata lacks until `whole` is asked for.
    _indexes: ClassVar[list[tuple[Table, Callable[[], Index]]]] = []

    def __init_subclass__(cls) -> None:
        """Make the table of the annotations."""
        arguments = [one for one in cls.__table_args__ if isinstance(one, SchemaItem)]
        options = {key: value for one in cls.__table_args__ if isinstance(one, Mapping) for key, value in one.items()}
        columns = [_column(cls, name, text) for name, text in cls.__annotations__.items()]
        cls.__table__ = Table(cls.__tablename__, cls.metadata, *columns, *arguments, **options)
        cls._indexes.extend((cls.__table__, one) for one in cls.__table_args__ if isinstance(one, partial))

    @classmethod
    def __clause_element__(cls) -> Table:
        """Return the table."""
        return cls.__table__

    @classmethod
    def whole(cls) -> MetaData:
        """Return the metadata with the indexes of all tables, for whoever makes or compares them."""
        while cls._indexes:
            table, make = cls._indexes.pop(0)
            table.append_constraint(make())
        return cls.metadata

    @classmethod
    def alias(cls) -> FromClause:
        """Return the table under a name of its own, for a statement that has it twice."""
        return cls.__table__.alias()


def _column(table: type[Base], name: str, annotation: str) -> Column[Any]:
    means = _ANNOTATION.fullmatch(annotation)
    assert means is not None, annotation  # noqa: S101 - written in this program
    own: Column[Any] = table.__dict__[name] if name in table.__dict__ else Column()
    own.name = own.key = name
    own.nullable = means["nullable"] is not None
    if isinstance(own.type, NullType) and not own.foreign_keys:
        own.type = _TYPES[means["type"]]()
    setattr(table, name, own)
    return own
