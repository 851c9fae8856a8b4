"""What is written behind the requests' backs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from aiosess._postgres import upkeep
from aiosess._postgres.database import Database
from aiosess._postgres.endings import Endings
from aiosess._postgres.rows import Rows
from aiosess._postgres.statements import Statements
from aiosess._postgres.upkeep import Upkeep
from aiosess._signals import Signals
from aiosess.config import SessionConfig
from tests.world.ageing import age
from tests.world.app import make_app
from tests.world.databases import logged_pool
from tests.world.parts import unconnected
from tests.world.site import visit
from tests.world.waiting import eventually


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """Return the run's database."""
    database = unconnected()
    await database.connect(dsn)
    yield database
    await database.close()


def make_upkeep(database: Database, **options: timedelta) -> Upkeep:
    """Return an upkeep on a database."""
    config = SessionConfig(**options)  # type: ignore[arg-type]  # spans only
    signals = Signals()
    statements = Statements(database, config.schema)
    return Upkeep(Rows(statements, signals, config), Endings(statements, signals, config), config)


async def test_marks_of_many_sessions_are_one_update(dsn: str, pg: asyncpg.Connection) -> None:
    """Last activity of many sessions is one statement."""
    async with logged_pool(dsn) as (pool, statements), visit(make_app(dsn, pool=pool)) as site:
        browsers = [await (await site.browser()).login(f"user{number}") for number in range(5)]
        await age(pg, 600)
        before = await pg.fetchval("select max(last_active_at) from aiosess_sessions")
        statements.clear()
        await asyncio.gather(*[browser.user() for browser in browsers])

        async def all_have_moved() -> bool:
            moved = await pg.fetchval("select min(last_active_at) > $1 from aiosess_sessions", before)
            return bool(moved)

        await eventually(all_have_moved)
    assert len([text for text in statements if "skip locked" in text]) == 1


async def test_settled_mark_survives_a_later_touch(database: Database, dsn: str, pg: asyncpg.Connection) -> None:
    """A settled mark that waits is not lost when the session is touched before it is written."""
    async with visit(make_app(dsn)) as site:
        await (await site.browser()).login("alice")
    await pg.execute("update aiosess_sessions set settled_at = null")
    row = await pg.fetchrow("select id, token_id, now() as at from aiosess_sessions")
    assert row is not None
    kept = make_upkeep(database)
    kept.settle(row["id"], row["at"], row["token_id"])
    kept.touch(row["id"], row["at"] + timedelta(seconds=1))
    await kept.flush()
    assert await pg.fetchval("select settled_at is not null from aiosess_sessions")


async def test_marks_are_bounded(
    database: Database, dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks beyond the bound are dropped; those of sessions that are already marked are not."""
    monkeypatch.setattr(upkeep, "MAX_MARKS", 1)
    async with visit(make_app(dsn)) as site:
        await (await site.browser()).login("alice")
    await age(pg, 600)
    session_id, now = await pg.fetchrow("select id, now() from aiosess_sessions")  # type: ignore[misc]  # one row
    kept = make_upkeep(database)
    kept.touch(session_id, now - timedelta(seconds=60))
    kept.touch(uuid4(), now)
    kept.touch(session_id, now)
    await kept.flush()
    assert await pg.fetchval("select last_active_at = $1 from aiosess_sessions", now)


async def test_lost_marks_are_harmless(caplog: pytest.LogCaptureFixture) -> None:
    """Marks that cannot be written are dropped, and said quietly."""
    database = unconnected()
    kept = make_upkeep(database)
    kept.touch(uuid4(), database.clock.now())
    with caplog.at_level(logging.INFO):
        await kept.flush()
    assert "1 last-active marks were lost" in caplog.text


async def test_sweeps_by_itself(dsn: str, pg: asyncpg.Connection) -> None:
    """Expired rows go away without anybody asking."""
    async with visit(make_app(dsn, sweep_interval=timedelta(milliseconds=50))) as site:
        await (await site.browser()).login("alice")
        await age(pg, 10**8)

        async def is_empty() -> bool:
            return bool(await pg.fetchval("select count(*) = 0 from aiosess_sessions"))

        await eventually(is_empty)


async def test_upkeep_survives_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody thought of is logged, and the next round comes all the same."""
    twice = asyncio.Event()
    rounds: list[None] = []

    async def mistaken() -> None:
        rounds.append(None)
        if len(rounds) > 1:
            twice.set()
        raise ValueError

    running = asyncio.create_task(upkeep.repeat(mistaken, 0))
    await twice.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "upkeep failed" in caplog.text
