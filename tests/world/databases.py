"""Databases of a test's own, rows to fill them with, and what happens on connections to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from tests.world.waiting import eventually


async def make_database(server_dsn: str) -> str:
    """Make an empty database and return its DSN."""
    name = f"aiosess_test_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(server_dsn)
    await connection.execute(f'create database "{name}"')
    await connection.close()
    return urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))


async def drop_database(server_dsn: str, dsn: str) -> None:
    """Drop what make_database() made, whoever is still connected."""
    connection = await asyncpg.connect(server_dsn)
    await connection.execute(f'drop database "{urlsplit(dsn).path[1:]}" with (force)')
    await connection.close()


async def empty_tables(dsn: str) -> None:
    """Make our tables as they were when they were made."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("delete from aiosess_sessions; delete from aiosess_logins")
    await connection.execute("update aiosess_schema set revoked_at = default, audience = default")
    await connection.close()


async def fill(pg: asyncpg.Connection, count: int) -> None:
    """Insert sessions of many users, whose ids are in the order of creation as those of logins are."""
    await pg.execute(
        """
        insert into aiosess_sessions (
            id, user_id, secret_hash, version, token_id, promoted_at, user_agent, device_name, device_type, fingerprint,
            authenticated_at, created_at, last_active_at, expires_at, ends_at, idle_timeout, remember
        )
        select
            lpad(to_hex(n), 32, '0')::uuid, 'user' || n, sha256(n::text::bytea), 1, 'AAAAAAAAAAA', now(), 'Firefox',
            'Firefox', 'desktop', 'Firefox', now(), now(), now(), now() + interval '1 day', now() + interval '1 day',
            interval '1 day', true
        from generate_series(1, $1) n
        """,
        count,
    )


async def copy_session(pg: asyncpg.Connection, user: str, times: int) -> None:
    """Give a user so many more sessions like one of theirs; the connection's search path does not matter."""
    await pg.execute(
        """
        insert into public.aiosess_sessions
        select (jsonb_populate_record(s, jsonb_build_object('id', gen_random_uuid()))).*
        from public.aiosess_sessions s, generate_series(1, $2)
        where s.id = (select id from public.aiosess_sessions where user_id = $1 limit 1)
        """,
        user,
        times,
    )


async def session_count(pg: asyncpg.Connection) -> int:
    """Return how many sessions there are."""
    return int(await pg.fetchval("select count(*) from aiosess_sessions"))


async def cut_connections(pg: asyncpg.Connection) -> set[int]:
    """End all connections to a connection's database but itself; return the pids of their backends."""
    records = await pg.fetch(
        """
        select pid, pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
        """
    )
    cut = {record["pid"] for record in records}
    # With a timeout pg_terminate_backend() would wait too, in steps of a tenth of a second for each.
    await eventually(lambda: pg.fetchval("select not exists (select from pg_stat_activity where pid = any($1))", cut))
    return cut


@asynccontextmanager
async def logged_pool(dsn: str, **options: Any) -> AsyncIterator[tuple[asyncpg.Pool, list[str]]]:
    """Make a pool as an application would, and a list of every statement that goes through it."""
    statements: list[str] = []

    async def listen(connection: asyncpg.Connection) -> None:
        async def note(query: asyncpg.connection.LoggedQuery) -> None:
            statements.append(query.query)

        connection.add_query_logger(note)

    async with asyncpg.create_pool(dsn, min_size=0, max_size=10, init=listen, **options) as pool:
        yield pool, statements
