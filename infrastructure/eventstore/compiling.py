"""How statements become SQL: written in SQLAlchemy Core, compiled once for each database, with named parameters."""

import re
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

_SQLITE: Final = sqlite.dialect(paramstyle="named")
_POSTGRES: Final = PGDialect_psycopg(paramstyle="pyformat")  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
VARIANTS: Final = 64
"""Compiled forms kept of each statement that depends on its filters."""


class Sql(str):
    """A statement: itself SQLite's text, with PostgreSQL's text (`postgres`) compiled when it is first asked for."""

    _statement: sa.ClauseElement

    @classmethod
    def of(cls, text: str, postgres: sa.ClauseElement) -> "Sql":
        """SQLite's text, and the statement whose text is PostgreSQL's."""
        made = cls(text)
        made._statement = postgres
        return made

    @cached_property
    def postgres(self) -> bytes:
        """The text psycopg takes: parameters binary, constants as literals."""
        sql = self._statement.compile(dialect=_POSTGRES)
        constants = _constants(sql)
        # `%(x)b`: binary. Sent as text, bytes would cost more than all the rest of a small transaction.
        return re.sub(r"%\((\w+)\)s", lambda found: constants.get(found[1], f"%({found[1]})b"), str(sql)).encode()


def compiled(statement: sa.ClauseElement, postgres: sa.ClauseElement | None = None) -> Sql:
    """The statement's SQL: its own constants as literals, its parameters by their names.

    `postgres` is the same for that database, where it has to be said in another way.
    """
    sql = statement.compile(dialect=_SQLITE)
    constants = _constants(sql)
    text = re.sub(r":(\w+)", lambda match: constants.get(match[1], match[0]), str(sql))
    return Sql.of(text, statement if postgres is None else postgres)


def locking(rows: "sa.Select[Any]") -> "sa.Select[Any]":
    """Of rows that PostgreSQL locks also its clock, in microseconds since 1970, once it has them: as a second column.

    In the same select it would be read before the wait for the lock.
    """
    clock = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * sa.literal_column("1000000"), sa.BigInteger)
    return sa.select(*rows.subquery("locked").columns, clock)


def _constants(sql: sa.Compiled) -> dict[str, str]:
    return {name: repr(value) for name, value in (sql.params or {}).items() if value is not None}


def p(name: str) -> sa.BindParameter[Any]:
    """A parameter by its name."""
    return sa.bindparam(name)


def upsert(table: sa.Table, *changed: str) -> Sql:
    """Insert a row, or overwrite these columns of the one that is there."""
    keys = list(table.primary_key.columns)
    small, large = sqlite.insert(table), postgresql.insert(table)
    return compiled(
        small.on_conflict_do_update(index_elements=keys, set_={name: small.excluded[name] for name in changed}),
        large.on_conflict_do_update(index_elements=keys, set_={name: large.excluded[name] for name in changed}),
    )


def update(table: sa.Table, key: sa.Column[Any], *changed: str) -> Sql:
    """Overwrite a projection row, if it is still at `was`."""
    where = sa.and_(key == p("id"), table.c.version == p("was"))
    return compiled(sa.update(table).where(where).values({name: p(name) for name in changed}))
