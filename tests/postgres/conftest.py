"""What the tests of PostgreSQL share."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest


@pytest.fixture
async def empty(empty_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection to a database without tables."""
    connection = await asyncpg.connect(empty_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def role_dsn(empty_dsn: str, empty: asyncpg.Connection) -> AsyncIterator[str]:
    """Return the DSN of the empty database for a role that may do nothing but connect."""
    role, password = f"aiosess_test_{uuid4().hex[:12]}", uuid4().hex
    await empty.execute(f"create role {role} login password '{password}'")
    parts = urlsplit(empty_dsn)
    _, _, host = parts.netloc.rpartition("@")
    yield urlunsplit(parts._replace(netloc=f"{role}:{password}@{host}"))
    await empty.execute(f"drop owned by {role}; drop role {role}")
