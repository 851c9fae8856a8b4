"""How many last-active marks are kept in memory until they are written."""

import asyncpg
import pytest

from aiosess._postgres import upkeep
from tests.world.ageing import age
from tests.world.app import make_app
from tests.world.site import visit


async def test_marks_of_more_sessions_are_dropped(
    dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five active sessions as many are written as may be marked; a dropped one is marked by a later request."""
    monkeypatch.setattr(upkeep, "MAX_MARKS", 2)
    monkeypatch.setattr(upkeep, "FLUSH_EVERY", 86_400.0)  # only when the application stops
    async with visit(make_app(dsn)) as site:
        browsers = [await (await site.browser()).login(f"user{number}") for number in range(5)]
        await age(pg, 600)
        for browser in browsers:
            await browser.user()
    moved = "select count(*) from aiosess_sessions where last_active_at > now() - interval '5 minutes'"
    assert await pg.fetchval(moved) == 2
    async with visit(make_app(dsn)) as site:
        for browser in reversed(browsers):
            assert browser.token is not None
            await site.present(browser.token)
    assert await pg.fetchval(moved) == 4
