"""How statements become SQL: written in SQLAlchemy Core, compiled once to SQLite's text with named parameters."""

import re
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

_DIALECT: Final = sqlite.dialect(paramstyle="named")
VARIANTS: Final = 64
"""Compiled forms kept of each statement that depends on its filters."""


def compiled(statement: sa.ClauseElement) -> str:
    """The statement's SQL: its own constants as literals, its parameters by their names."""
    sql = statement.compile(dialect=_DIALECT)
    constants = {name: repr(value) for name, value in (sql.params or {}).items() if value is not None}
    return re.sub(r":(\w+)", lambda match: constants.get(match[1], match[0]), str(sql))


def p(name: str) -> sa.BindParameter[Any]:
    """A parameter by its name."""
    return sa.bindparam(name)


def upsert(table: sa.Table, *changed: str) -> str:
    """Insert a row, or overwrite these columns of the one that is there."""
    insert = sqlite.insert(table)
    return compiled(
        insert.on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_={name: insert.excluded[name] for name in changed}
        )
    )


def update(table: sa.Table, key: sa.Column[Any], *changed: str) -> str:
    """Overwrite a projection row, if it is still at `was`."""
    where = sa.and_(key == p("id"), table.c.version == p("was"))
    return compiled(sa.update(table).where(where).values({name: p(name) for name in changed}))
