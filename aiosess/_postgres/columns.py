"""
The columns of a session, spelled in the ways that statements need; ``sql/columns.sql`` is the list.

A statement returns each column as a fixed type. So a statement that a connection has prepared still fits when a DBA
changes the type of a column. It returns an instant that Python does not know as infinity: asyncpg cannot read any other
one, and the whole answer would fail with it.
"""

from functools import cache

from aiosess._postgres.sql_files import read_sql


def fill_in(text: str) -> str:
    """
    Put the columns into a statement.

    ``{columns}`` becomes ``s.id::uuid, …`` (an instant is compared, too), ``{column_names}`` becomes ``s.id, …``
    and ``{column_types}``, which declares the record of a JSON text, ``id uuid, …``.
    """
    for placeholder, spelling in _spellings().items():
        text = text.replace(placeholder, spelling)
    return text


def column_names() -> list[str]:
    """Return the names in their order."""
    return [name for name, _ in _definitions()]


@cache
def _spellings() -> dict[str, str]:
    definitions = _definitions()
    return {
        "{columns}": ", ".join(_typed(name, kind) for name, kind in definitions),
        "{column_names}": ", ".join(f"s.{name}" for name, _ in definitions),
        "{column_types}": ", ".join(f"{name} {kind}" for name, kind in definitions),
    }


def _typed(name: str, kind: str) -> str:
    column = f"s.{name}::{kind}"
    if kind != "timestamptz":
        return column
    return f"case when s.{name} not between '0001-01-02' and '9999-12-31' then 'infinity' else {column} end as {name}"


def _definitions() -> list[tuple[str, str]]:
    lines = read_sql("sql/columns.sql", "").splitlines()
    listed = " ".join(line for line in lines if not line.startswith("--"))
    pairs = (definition.split() for definition in listed.split(","))
    return [(name, kind) for name, kind in pairs]
