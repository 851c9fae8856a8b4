"""A sweep and the application's hook: many events at once, and a hook that is slow."""

import asyncio
from functools import partial

import asyncpg

from aiosess import STORE
from aiosess._postgres.endings import SWEEP_BATCH
from aiosess.events import Event, Expired
from tests.world.app import make_app
from tests.world.site import visit
from tests.world.waiting import eventually

MANY = 2 * SWEEP_BATCH + 500

FILL = """
    create temporary table copies as select one.* from aiosess_sessions one, generate_series(1, $1);
    update copies set id = gen_random_uuid(), expires_at = now() - interval '1 minute'
"""


class SlowHook:
    """A hook whose calls return when the test says so."""

    def __init__(self) -> None:
        """Hold all calls."""
        self.expired: list[Expired] = []
        self.go_on = asyncio.Event()

    async def __call__(self, event: Event) -> None:
        """Note an expiry, and wait."""
        if isinstance(event, Expired):
            self.expired.append(event)
            await self.go_on.wait()

    async def has(self, count: int) -> bool:
        """Say whether so many expiries have been told."""
        return len(self.expired) == count


async def test_sweep_waits_for_the_hooks_of_its_batch(dsn: str, pg: asyncpg.Connection) -> None:
    """A sweep deletes the next batch when the hook has worked off the events of this one, and no event is lost."""
    hook = SlowHook()
    async with visit(make_app(dsn, on_event=hook)) as site:
        await (await site.browser()).login("ada")
        for statement in FILL.replace("$1", str(MANY)).split(";"):
            await pg.execute(statement)
        await pg.execute("delete from aiosess_sessions; insert into aiosess_sessions select * from copies")
        sweeping = asyncio.create_task(site.server.app[STORE].sweep())
        await eventually(partial(hook.has, SWEEP_BATCH))
        for _ in range(50):  # round trips in which a sweep that does not wait would have gone on
            left = await pg.fetchval("select count(*) from aiosess_sessions where expires_at <= now()")
        assert left == MANY - SWEEP_BATCH
        hook.go_on.set()
        async with asyncio.timeout(60):
            assert await sweeping == MANY
            await eventually(partial(hook.has, MANY))
    assert len({event.session_id for event in hook.expired}) == MANY
