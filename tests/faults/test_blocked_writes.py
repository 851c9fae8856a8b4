"""Writes that hang on a lock: they leave reads alone, and those that wait for one row leave writes of others alone."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.faults.probes import BRIEF
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.site import Site, visit
from tests.world.waiting import eventually, somebody_waits

pytestmark = pytest.mark.threat("DB-22")

POOLS = ("our own", "the application's")


@asynccontextmanager
async def small(dsn: str, whose: str, **options: object) -> AsyncIterator[Site]:
    """Run a site with four connections at most."""
    if whose == "our own":
        async with visit(make_app(dsn, pool_size=4, **options)) as site:
            yield site
    else:
        async with (
            asyncpg.create_pool(dsn, min_size=0, max_size=4) as pool,
            visit(make_app("", pool=pool, **options)) as site,
        ):
            yield site


async def save(browser: Browser, count: int) -> list[int]:
    """Send some saves at the same time; return how they were answered."""
    answers = await asyncio.gather(*(browser.post(f"/set/key{number}", json=number) for number in range(count)))
    return [answer.status for answer in answers]


@pytest.mark.parametrize("whose", POOLS)
async def test_saves_behind_a_table_lock(
    dsn: str, pg: asyncpg.Connection, whose: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While an index is made, saves of many sessions wait; checks and lists go on unalarmed; then all are saved."""
    async with small(dsn, whose) as site:
        browsers = [await (await site.browser()).login(f"user{number}") for number in range(12)]
        async with pg.transaction():
            await pg.execute("lock table aiosess_sessions in share mode")
            saving = [asyncio.create_task(save(browser, 2)) for browser in browsers]
            await somebody_waits(pg)
            for browser in browsers:
                assert await browser.user() is not None
            assert len(await site.store.list_for_user("user1")) == 1
            assert not any(each.done() for each in saving)
        assert [await each for each in saving] == [[200, 200]] * len(browsers)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("whose", POOLS)
async def test_saves_that_run_out_of_time(dsn: str, pg: asyncpg.Connection, whose: str) -> None:
    """Saves that hang until their deadline end with 503, and PostgreSQL does not count as down for it."""
    async with small(dsn, whose, store_timeout=BRIEF) as site:
        browsers = [await (await site.browser()).login(f"user{number}") for number in range(12)]
        async with pg.transaction():
            await pg.execute("lock table aiosess_sessions in share mode")
            answers = await asyncio.gather(*(save(browser, 2) for browser in browsers))
            assert answers == [[503, 503]] * len(browsers)
            assert not site.installation.database.outage.is_on
            assert await browsers[0].user() == "user0"
        assert await save(browsers[0], 1) == [200]


@pytest.mark.parametrize("whose", POOLS)
async def test_sign_ins_of_one_user_behind_a_row(dsn: str, pg: asyncpg.Connection, whose: str) -> None:
    """Forty sign-ins that wait for one user's row let others sign in and save; then all of them succeed."""
    async with small(dsn, whose) as site:
        ada = await (await site.browser()).login("ada")
        async with pg.transaction():
            await pg.execute("select from aiosess_logins where user_id = 'ada' for update")
            waiting = [asyncio.create_task((await site.browser()).login("ada")) for _ in range(40)]
            await somebody_waits(pg)
            grace = await (await site.browser()).login("grace")
            assert await save(grace, 5) == [200] * 5
            assert await save(ada, 1) == [200]
            assert not any(each.done() for each in waiting)
        await asyncio.gather(*waiting)


async def test_saves_of_one_session_behind_its_row(dsn: str, pg: asyncpg.Connection) -> None:
    """Twenty saves that wait for one session's row let other sessions be saved; then all of them succeed."""
    async with small(dsn, "our own") as site:
        ada, grace = [await (await site.browser()).login(name) for name in ("ada", "grace")]
        async with pg.transaction():
            await pg.execute("select from aiosess_sessions where user_id = 'ada' for update")
            waiting = asyncio.create_task(save(ada, 20))
            await somebody_waits(pg)
            assert await save(grace, 5) == [200] * 5
            assert not waiting.done()
        assert await waiting == [200] * 20


async def test_one_connection_serves_both(dsn: str) -> None:
    """A pool of one connection has none to keep for reads, and works all the same."""
    async with visit(make_app(dsn, pool_size=1)) as site:
        browser = await (await site.browser()).login("ada")
        assert await save(browser, 10) == [200] * 10
        assert await browser.user() == "ada"


async def test_nothing_is_kept_of_rows_that_were_written(dsn: str) -> None:
    """After many sessions were saved nothing remembers them."""
    async with visit(make_app(dsn)) as site:
        for number in range(5):
            assert await save(await (await site.browser()).login(f"user{number}"), 3) == [200] * 3

        async def is_empty() -> bool:
            return not site.installation.database.connections.lanes._rows

        await eventually(is_empty)
