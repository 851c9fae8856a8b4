"""Which SQL makes the tables, and which upgrades those of an older version."""

from typing import Final

from aiosess._postgres.sql_files import read_sql
from aiosess.config import SessionConfig
from aiosess.errors import ConfigError

VERSION: Final = 1  # of the tables
COMPATIBLE_FROM: Final = 1  # a library made for tables of this version, or of a later one, may use the tables


def schema_sql(schema: str = "public", *, since: int | None = None) -> str:
    """
    Return SQL for a DBA to read and run: it makes the tables, or upgrades them from the version ``since``.

    With ``SessionConfig(migrate=False)`` an application runs with a role that
    may only select, insert, update and delete. Which version the tables have
    stands in ``aiosess_schema.version``. Run the SQL in one transaction.

    Raises:
        ConfigError: the schema's name is not allowed, or the library has no upgrade from this version.

    """
    SessionConfig(schema=schema)  # names the argument in its error, too
    if since is None:
        return "\n".join([read_sql("sql/create_schema.sql", schema), *steps(None, schema), _note_version(schema)])
    if type(since) is not int or not 1 <= since <= VERSION:
        message = f"since: must be a version of the tables, from 1 to {VERSION}"
        raise ConfigError(message)
    return "\n".join([*steps(since, schema), _note_version(schema)])


def steps(since: int | None, schema: str) -> list[str]:
    """Return the SQL files that bring tables of a version (None: there are none yet) to this library's version."""
    tables = ["tables"] if since is None else [f"upgrade_{version:04}" for version in range(since + 1, VERSION + 1)]
    return [read_sql(f"schema/{name}.sql", schema) for name in (*tables, "functions")]


def _note_version(schema: str) -> str:
    text = read_sql("sql/set_version.sql", schema).rstrip()
    return text.replace("$1", str(VERSION)).replace("$2", str(COMPATIBLE_FROM)) + ";\n"
