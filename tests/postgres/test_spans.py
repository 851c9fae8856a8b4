"""Spans of time on a server whose time zone has summer time: a day is 24 hours on both nights of the year."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from aiosess import SessionConfig
from tests.world.app import make_app
from tests.world.site import visit
from tests.world.tables import migrate
from tests.world.wrong_clock import server_with_wrong_clock

pytestmark = pytest.mark.needs("faketime")

HALF_A_DAY_BEFORE = {
    "summer time begins": datetime(2027, 3, 27, 12, tzinfo=UTC),
    "summer time ends": datetime(2027, 10, 30, 12, tzinfo=UTC),
}


@pytest.fixture(params=HALF_A_DAY_BEFORE)
async def berlin(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Return the DSN of a server in Berlin, half a day before its clocks change."""
    offset = HALF_A_DAY_BEFORE[request.param] - datetime.now(UTC)
    with server_with_wrong_clock(f"{offset.total_seconds():+.0f}s", timezone="Europe/Berlin") as dsn:
        await migrate(dsn)
        yield dsn


@pytest.mark.threat("SES-18")
async def test_spans_are_exact_when_clocks_change(berlin: str) -> None:
    """A session of aal2() ends 24 hours after the login; a touch prolongs another one by its idle timeout exactly."""
    pg = await asyncpg.connect(berlin)
    assert await pg.fetchval("select now() + '1 day' - now() <> '24 hours'"), "the server's days are exact anyway"
    async with visit(make_app(berlin, config=SessionConfig.aal2())) as site:
        await (await site.browser()).login("ada")
    assert await pg.fetchval("select ends_at - created_at from aiosess_sessions") == timedelta(hours=24)
    await pg.execute("delete from aiosess_sessions")
    idle = timedelta(days=1)
    async with visit(make_app(berlin, idle_timeout=idle, absolute_timeout=timedelta(days=2))) as site:
        await (await site.browser()).login("ada")
        (session,) = await site.store.list_for_user("ada")
        upkeep = site.installation.upkeep
        upkeep.touch(session.id, site.store.clock.now())
        await upkeep.flush()
    assert await pg.fetchval("select expires_at - last_active_at from aiosess_sessions") == idle
    await pg.close()
