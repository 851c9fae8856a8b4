"""
The tables: made and updated by numbered migrations, checked at start-up, printed for a DBA.

Each migration is one .sql file. All that are missing run in one transaction under a lock, so of ten processes that
start at once one migrates and nine wait, and one that is killed midway has done nothing.
"""

import re
from importlib import resources
from typing import Any, Final

import asyncpg

from aiosess._postgres.database import Connection, Database
from aiosess._postgres.statements import read_sql
from aiosess.errors import SchemaMismatch

VERSION: Final = 5

# "aiosess" in ASCII; the lock is held by migrations only, until their transaction ends.
_LOCK = 0x61696F73657373


def schema_sql(schema: str = "public") -> str:
    """
    Return the SQL that makes the tables in an empty database, for a DBA to read and run.

    With ``SessionConfig(migrate=False)`` an application runs with a role that
    may only select, insert, update and delete.
    """
    parts = [read_sql("sql/create_schema.sql", schema)]
    parts += [_migration(version, schema) for version in range(1, VERSION + 1)]
    parts.append(read_sql("sql/set_version.sql", schema).replace("$1", f"{VERSION};"))
    return "\n".join(parts)


async def prepare(database: Database, schema: str, *, migrate: bool) -> None:
    """
    Bring the schema to this library's version, or check that it is.

    Raises:
        SchemaMismatch: the schema is absent or older (without ``migrate``, or with a role that may not), incomplete,
            or newer.
        StoreUnavailable: PostgreSQL does not answer.

    """

    async def work(connection: Connection) -> str | None:
        problem = await _problem(connection, schema)
        if problem is None or not migrate:
            return problem
        try:
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
                # Requests queue up behind a migration that waits (for a dump, say): it gives up, and is tried again.
                await connection.execute("set local lock_timeout = '1s'")
                await _migrate(connection, schema)
        except asyncpg.InsufficientPrivilegeError:
            return f"{problem} with a role that may"
        return await _problem(connection, schema)

    problem = await database.run(work)
    if problem is not None:
        raise SchemaMismatch(problem)


async def _migrate(connection: Connection, schema: str) -> None:
    """Run what is missing, with the lock held: somebody else may have done it while we waited for that."""
    objects = await _objects(connection, schema)
    version = await _version(connection, schema, objects)
    if version is None:
        if objects["has_tables"]:
            return  # no migration left them like this, so none can go on from here
        if not objects["has_schema"]:
            # "if not exists" would ask for the right to create schemas even where there is nothing to create.
            await connection.execute(read_sql("sql/create_schema.sql", schema))
        version = 0
    for missing in range(version + 1, VERSION + 1):
        await connection.execute(_migration(missing, schema))
    if version < VERSION:
        await connection.execute(read_sql("sql/set_version.sql", schema), VERSION)


async def _problem(connection: Connection, schema: str) -> str | None:
    """Say what is wrong with the schema, if anything is."""
    objects = await _objects(connection, schema)
    version = await _version(connection, schema, objects)
    if version is None and not objects["has_tables"]:
        return f"the schema {schema!r} holds no aiosess tables: run aiosess.schema_sql() or set migrate=True"
    if version is None or (version == VERSION and not objects["is_whole"]):
        return f"the aiosess tables in the schema {schema!r} are incomplete: restore them or drop them all"
    if version > VERSION:
        return f"the tables are of version {version}, newer than this aiosess ({VERSION}): update the library"
    if version < VERSION:
        return f"the tables are of version {version}, older than this aiosess ({VERSION}): set migrate=True"
    return None


async def _version(connection: Connection, schema: str, objects: Any) -> int | None:  # noqa: ANN401 - a record, too
    if not objects["has_version"]:
        return None
    version: int = await connection.fetchval(read_sql("sql/version.sql", schema))
    return version


async def _objects(connection: Connection, schema: str) -> Any:  # noqa: ANN401 - asyncpg.Record has no types
    return await connection.fetchrow(read_sql("sql/objects.sql", schema))


def _migration(version: int, schema: str) -> str:
    folder = resources.files("aiosess._postgres").joinpath("migrations")
    name = next(f.name for f in folder.iterdir() if re.match(rf"{version:04}_\w+\.sql", f.name))
    return read_sql(f"migrations/{name}", schema)
