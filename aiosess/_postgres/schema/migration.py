"""
Make or upgrade the tables when an application starts, and check them.

All steps run in one transaction under a lock. If ten processes start at once, one migrates and nine wait. A process
that is killed in the middle has done nothing.
"""

import asyncpg

from aiosess._postgres.connections import Connection
from aiosess._postgres.database import Database
from aiosess._postgres.schema.scripts import COMPATIBLE_FROM, VERSION, steps
from aiosess._postgres.schema.state import look, problem_of
from aiosess._postgres.sql_files import read_sql
from aiosess.errors import SchemaMismatch

# "aiosess" in ASCII. Only migrations take this lock; it ends with their transaction.
_LOCK = 0x61696F73657373


async def prepare(database: Database, schema: str, *, migrate: bool) -> None:
    """
    Bring the tables to this library's version, or check that it can use them.

    Raises:
        SchemaMismatch: the tables are absent or older (without ``migrate``, or with a role that may not), incomplete,
            too new, or older than the first release.
        StoreUnavailable: PostgreSQL does not answer.

    """

    async def work(connection: Connection) -> str | None:
        problem = problem_of(await look(connection, schema), schema)
        if problem is None or not migrate:
            return problem
        try:
            async with connection.transaction():
                await connection.execute("select pg_catalog.pg_advisory_xact_lock($1::bigint)", _LOCK)
                # If the migration has to wait for a table (behind a dump, say), requests queue up behind it. So it
                # gives up after a second, and the application tries again later.
                await connection.execute("set local lock_timeout = '1s'")
                await _migrate(connection, schema)
        except asyncpg.InsufficientPrivilegeError:
            return f"{problem} with a role that may"
        return problem_of(await look(connection, schema), schema)

    problem = await database.run(work)
    if problem is not None:
        raise SchemaMismatch(problem)


async def _migrate(connection: Connection, schema: str) -> None:
    """Run the missing steps. Look again first: another process may have migrated while we waited for the lock."""
    state = await look(connection, schema)
    if not state.can_be_migrated:
        return
    if not state.has_schema:
        # "if not exists" asks for the right to create schemas even where there is nothing to create.
        await connection.execute(read_sql("sql/create_schema.sql", schema))
    for step in steps(state.version, schema):
        await connection.execute(step)
    await connection.execute(read_sql("sql/set_version.sql", schema), VERSION, COMPATIBLE_FROM)
