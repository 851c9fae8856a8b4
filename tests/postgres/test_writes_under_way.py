"""Writes whose request has gone: they are carried through, and nothing forgets them meanwhile."""

import asyncio
import gc

import asyncpg

from aiosess import events
from aiosess._postgres.carried_through import carried_through
from tests.world.app import make_app
from tests.world.site import visit
from tests.world.waiting import eventually, somebody_waits


async def test_a_write_is_not_collected_as_garbage() -> None:
    """While a write waits for something that only it knows, it is kept, though nobody awaits it any more."""
    entered = asyncio.Event()
    left: list[bool] = []

    @carried_through
    async def write() -> None:
        entered.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            left.append(True)

    asking = asyncio.create_task(write())
    await entered.wait()
    asking.cancel()
    await asyncio.wait([asking])
    del asking
    gc.collect()
    assert left == []
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if "write" in repr(task.get_coro()):
            task.cancel()
            await asyncio.wait([task])
    assert left == [True]


async def test_a_write_outlives_its_request(dsn: str, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """A session whose end waits for a lock ends, and its event comes, though the request was cancelled meanwhile."""
    async with visit(make_app(dsn, on_event=happened.append)) as site:
        browser = await (await site.browser()).login("alice")
        happened.clear()
        async with pg.transaction():
            await pg.execute("select from aiosess_sessions for update")
            asking = asyncio.create_task(browser.post("/do/logout"))
            await somebody_waits(pg)
            asking.cancel()
            await asyncio.wait([asking])
            gc.collect()

        async def is_told() -> bool:
            return [type(event) for event in happened] == [events.Revoked]

        await eventually(is_told)
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 0
