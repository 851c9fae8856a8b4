"""When PostgreSQL counts as down: what begins an outage, and what ends it."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import asyncpg
import pytest

from aiosess._postgres.outage import Outage

CUT = ConnectionResetError()
REFUSED = asyncpg.ReadOnlySQLTransactionError()


async def hang(_within: float) -> None:
    """Never answer a probe."""
    await asyncio.Event().wait()


@pytest.fixture
async def outage() -> AsyncIterator[Outage]:
    """Return the state of a server whose probes hang."""
    outage = Outage(hang)
    yield outage
    await outage.close()


@pytest.mark.threat("DB-05")
async def test_lost_connection_begins_an_outage(outage: Outage) -> None:
    """PostgreSQL counts as down when a question fails that was asked after the last answer."""
    outage.note_answer()
    outage.begin(CUT, monotonic())
    assert outage.is_on


@pytest.mark.threat("DB-05")
async def test_older_failure_begins_no_outage(outage: Outage) -> None:
    """A question that was asked before PostgreSQL answered another one says nothing when it fails afterwards."""
    asked_at = monotonic()
    outage.note_answer()
    outage.begin(CUT, asked_at)
    assert not outage.is_on


@pytest.mark.threat("DB-05")
async def test_answer_ends_an_outage(outage: Outage) -> None:
    """An answer that comes after connections were cut shows that PostgreSQL is up, before the next probe does."""
    outage.begin(CUT, monotonic())
    outage.note_answer()
    assert not outage.is_on


@pytest.mark.threat("DB-09")
async def test_answer_of_a_standby_ends_no_outage(outage: Outage) -> None:
    """A server that refuses to write stays down though it answers questions: only a probe that may write ends that."""
    outage.begin(REFUSED, monotonic())
    outage.note_answer()
    assert outage.is_on
