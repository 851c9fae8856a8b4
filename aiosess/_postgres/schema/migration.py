"""
Make or upgrade the tables when an application starts, and check them.

All steps run in one transaction under a lock. If ten processes start at once, one migrates and nine wait. A process
that is killed in the middle has done nothing.
"""

import asyncpg

from aiosess._postgres.connections import Connection
from aiosess._postgres.database import Database
from aiosess._postgres.schema.fitness import require_fit
from aiosess._postgres.schema.scripts import COMPATIBLE_FROM, VERSION, steps
from aiosess._postgres.schema.state import look, problem_of
from aiosess._postgres.sql_files import read_sql
from aiosess.errors import SchemaMismatch

# "aiosess" in ASCII. Only migrations take this lock; it ends with their transaction.
_LOCK = 0x61696F73657373


async def prepare(database: Database, schema: str, *, migrate: bool, audience: str | None = None) -> None:
    """
    Bring the tables to this library's version, or check that it can use them, and claim them for an audience (or None).

    Raises:
        ConfigError: aiosess cannot work with this server or this pool.
        SchemaMismatch: the tables are absent or older (without ``migrate``, or with a role that may not), incomplete,
            too new, or older than the first release; or they hold the sessions of another audience.
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

    await require_fit(database)
    problem = await database.run(work)
    if problem is None and audience is not None:
        problem = await database.run(lambda connection: _claim(connection, schema, audience))
    if problem is not None:
        raise SchemaMismatch(problem)


async def _claim(connection: Connection, schema: str, audience: str) -> str | None:
    """
    Note that the tables hold this audience's sessions; say it, if they hold another one's.

    Two applications with one table would share their users: number 1 of the customers could end the sessions of number
    1 of the staff.
    """
    owner = await connection.fetchval(read_sql("sql/audience.sql", schema))
    if owner is None:
        await connection.execute(read_sql("sql/claim_audience.sql", schema), audience)
        owner = await connection.fetchval(read_sql("sql/audience.sql", schema))
    if owner == audience:
        return None
    return (
        f"the tables in the schema {schema!r} hold the sessions of the audience {owner!r}, not {audience!r}: give this "
        "application a schema of its own (schema=…); only applications that share their users share the audience. To "
        "rename it, set aiosess_schema.audience to null"
    )


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
