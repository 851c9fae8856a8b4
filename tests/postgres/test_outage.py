"""When PostgreSQL counts as down: what begins an outage, and what ends it."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import asyncpg
import pytest

from aiosess._postgres.outage import Outage
from tests.world.waiting import eventually

CUT = ConnectionResetError()
REFUSED = asyncpg.ReadOnlySQLTransactionError()


async def hang() -> None:
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


@pytest.mark.threat("DB-05")
async def test_probe_without_an_answer_begins_an_outage(outage: Outage) -> None:
    """A probe that waits begins an outage long before its own deadline: requests fail at once meanwhile."""
    outage.probe()
    await eventually(lambda: outage.is_on)


@pytest.mark.threat("DB-05", "DB-21")
async def test_probe_that_hangs_holds_up_no_other() -> None:
    """Another probe starts beside one that hangs, and its answer ends the outage."""
    asked = 0

    async def hang_first() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            await hang()

    outage = Outage(hang_first)
    outage.begin(CUT, monotonic())
    await eventually(lambda: not outage.is_on)
    await outage.close()


@pytest.mark.threat("DB-05")
async def test_older_probe_that_fails_begins_no_outage() -> None:
    """A probe that began before PostgreSQL answered says nothing when it fails afterwards."""
    failing = asyncio.Event()
    asked = 0

    async def fail_first() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            await failing.wait()
            raise CUT
        await hang()

    outage = Outage(fail_first)
    outage.begin(CUT, monotonic())
    await eventually(lambda: asked == 1)
    outage.note_answer()
    failing.set()
    await eventually(lambda: asked == 2)
    assert not outage.is_on
    await outage.close()
