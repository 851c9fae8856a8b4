"""The checkers that the tests of this folder ask."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.check.room import Gate, Room, make_room


@pytest.fixture
async def room(dsn: str) -> AsyncIterator[Room]:
    """Return a room with the defaults."""
    async with make_room(dsn) as made:
        yield made


@pytest.fixture
async def gate(pg: asyncpg.Connection) -> AsyncIterator[Gate]:
    """Return an open gate."""
    await pg.execute(Gate.VIEW)
    yield Gate(pg)
    await pg.execute("select pg_advisory_unlock_all(); drop schema gated cascade")


@pytest.fixture
async def gated(dsn: str, gate: Gate) -> AsyncIterator[Room]:
    """Return a room whose checks the gate can stop; sessions are made and ended in the plain one."""
    assert isinstance(gate, Gate)
    async with make_room(dsn, schema="gated") as made:
        yield made


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """Return what the event loop complains about: exceptions and tasks that nobody has fetched or awaited."""
    heard: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: heard.append(context))
    yield heard
    loop.set_exception_handler(before)
