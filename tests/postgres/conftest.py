"""What the tests of PostgreSQL share."""

from collections.abc import AsyncIterator

import asyncpg
import pytest


@pytest.fixture
async def empty(empty_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection to a database without tables."""
    connection = await asyncpg.connect(empty_dsn)
    yield connection
    await connection.close()
