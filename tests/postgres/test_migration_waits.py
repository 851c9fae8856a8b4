"""A migration that meets a lock: it gives up soon, because requests queue up behind it, and is tried again."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from tests.world.app import make_app
from tests.world.site import visit
from tests.world.waiting import eventually


async def test_migration_gives_up_behind_a_lock(empty_dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """With all the time in the world a migration waits for nobody's lock for long, and is made when it is free."""
    other = await asyncpg.connect(empty_dsn)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("create table aiosess_sessions (id uuid)")  # another one of this name has to wait
    try:
        async with asyncio.timeout(30):
            running = visit(make_app(empty_dsn, store_timeout=timedelta(minutes=5)))
            site = await running.__aenter__()
        try:
            assert "LockNotAvailableError 55P03" in caplog.text
            browser = await site.browser()
            await transaction.rollback()

            async def signs_in() -> bool:
                return (await browser.post("/login/alice")).status == 200

            await eventually(signs_in)
        finally:
            await running.__aexit__(None, None, None)
    finally:
        await other.close()
