"""Many rows in one statement on PostgreSQL: columns as arrays, and lists as one parameter.

A statement for each row costs both sides more than the row's work; a list written into the
statement makes a new statement for every length, which both sides have to understand again.
SQLite has no arrays: there a list is a list, and rows go one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

_Query = TypeVar("_Query")
OneOf = Callable[[sa.ColumnElement[Any], str], sa.ColumnElement[bool]]
Either = Callable[[AsyncConnection], _Query]


def is_postgres(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"


def either(make: Callable[[OneOf], _Query]) -> Either[_Query]:
    """A statement that is made once for each database: `make` gets a function that says "this
    column is one of the list in this parameter"."""

    def one_of(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
        return column.in_(sa.bindparam(name, type_=column.type, expanding=True))

    def one_of_array(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
        return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(column.type)))

    rows, arrays = make(one_of), make(one_of_array)
    return lambda connection: arrays if is_postgres(connection) else rows


class ArrayRows:
    """Rows given as one array for each column, to be joined with or selected from (`c`)."""

    def __init__(self, name: str, columns: Mapping[str, sa.types.TypeEngine[Any]]) -> None:
        self._names = tuple(columns)
        self._parameters = {column: f"{name}_{column}" for column in columns}
        arrays = [
            sa.bindparam(self._parameters[column], type_=postgresql.ARRAY(kind))
            for column, kind in columns.items()
        ]
        self.table = (
            sa.func.unnest(*arrays)
            .table_valued(*(sa.column(c, kind) for c, kind in columns.items()), name=name)
            .render_derived()
        )

    @property
    def c(self) -> sa.ColumnCollection[str, sa.ColumnElement[Any]]:
        return self.table.c

    def parameters(self, rows: Iterable[Iterable[Any]]) -> dict[str, list[Any]]:
        """The arrays of these rows, each in the order of the columns; at least one row."""
        columns = zip(*rows, strict=True)
        return {
            self._parameters[name]: list(column)
            for name, column in zip(self._names, columns, strict=True)
        }
