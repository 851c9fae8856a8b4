"""Databases that a test has for itself, and rows to fill them with."""

from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg


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
