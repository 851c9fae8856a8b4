"""Whether the server and the connections of a pool are such that aiosess can work with them: asked before all else."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from aiosess._postgres.connections import Connection
from aiosess._postgres.database import Database
from aiosess._postgres.reasons import reason_of
from aiosess._postgres.sql_files import read_sql
from aiosess.errors import ConfigError, StoreUnavailable

OLDEST: Final = 15  # PostgreSQL's oldest version that the tests run on

READ_COMMITTED: Final = "read committed"

# A value of each type that statements take and return.
_VALUES: Final[dict[str, Any]] = {
    "uuid": UUID(int=1),
    "bytea": b"\x01",
    "int": 1,
    "bigint": 1 << 40,
    "float8": 0.5,
    "boolean": True,
    "timestamptz": datetime(2026, 1, 1, tzinfo=UTC),
    "text": "é",
}


async def require_fit(database: Database) -> None:
    """
    Find out whether aiosess can work with the server and the pool.

    Raises:
        ConfigError: it cannot; the message says why and what to do.
        StoreUnavailable: PostgreSQL does not answer.

    """
    ours = database.connections.are_ours
    try:
        server = await database.run(_look)
        if ours and server["isolation"] != READ_COMMITTED:
            await database.connections.begin_with(f"set default_transaction_isolation = '{READ_COMMITTED}'")
            server = await database.run(_look)
    except StoreUnavailable as error:
        if isinstance(error.__context__, asyncpg.ClientConfigurationError):
            raise _refusal(reason_of(error.__context__), ours=ours) from None
        raise
    problem = misfit_of_server(server["version"], server["encoding"])
    problem = problem or _misfit_of_settings(server["isolation"], server["first_schema"])
    if not ours:  # nobody else has set codecs on our own connections
        problem = problem or await database.run(_misfit_of_codecs)
    if problem is not None:
        raise _refusal(problem, ours=ours)
    database.clock.learn(server["told_at"])


def _refusal(problem: str | None, *, ours: bool) -> ConfigError:
    return ConfigError(f"{'dsn' if ours else 'pool'}: {problem}")


async def _look(connection: Connection) -> Any:  # noqa: ANN401 - a record
    return await connection.fetchrow(read_sql("sql/server.sql", ""))


def misfit_of_server(version: int, encoding: str) -> str | None:
    """Say what is wrong with a server of this version (``server_version_num``), and a database in this encoding."""
    if version < OLDEST * 10_000:
        return f"the server is PostgreSQL {version // 10_000}, and aiosess needs {OLDEST} or later: upgrade it"
    if encoding != "UTF8":
        return f"the database's encoding is {encoding}, and aiosess needs UTF8: create database … encoding 'UTF8'"
    return None


def _misfit_of_settings(isolation: str, first_schema: str | None) -> str | None:
    if isolation != READ_COMMITTED:
        return (
            f"the default isolation of its transactions is {isolation}, under which a login can overlook a revocation: "
            "set default_transaction_isolation to 'read committed' for this role or pool, and name another one in the "
            "transactions that need it"
        )
    if first_schema != "pg_catalog":
        return (
            f"the search_path has {first_schema!r} before pg_catalog, so whoever may create functions there acts as "
            "the application: leave pg_catalog out of the search_path, and PostgreSQL looks there first"
        )
    return None


async def _misfit_of_codecs(connection: Connection) -> str | None:
    """Find the types for which the application has set codecs of its own that return something else."""
    if await _come_back(connection, _VALUES):
        return None
    wrong = [kind for kind, value in _VALUES.items() if not await _come_back(connection, {kind: value})]
    return (
        f"it has codecs for {', '.join(wrong)} that change the values which aiosess reads and writes: leave them out, "
        "or give aiosess a pool of its own (dsn=…)"
    )


async def _come_back(connection: Connection, values: Mapping[str, Any]) -> bool:
    """Say whether values of some types come back as they were."""
    asked = ", ".join(f"${number}::{kind}" for number, kind in enumerate(values, start=1))
    try:
        (record,) = await connection.fetch(f"select {asked}", *values.values())
    except asyncpg.DataError:
        return False
    return all(
        isinstance(back, type(sent)) and back == sent for back, sent in zip(record, values.values(), strict=True)
    )
