"""When the application stops: the events of its last requests arrive before its own resources are closed."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
from aiohttp import web

from aiosess import events
from tests.world.app import make_app
from tests.world.site import visit

STEPS = 50  # round trips of an audit trail: more than all that the shutdown does besides


async def test_events_of_the_last_request_arrive(dsn: str, pg: asyncpg.Connection) -> None:
    """A hook that still writes an event to the audit trail when the application stops is waited for."""
    trail: list[events.Event] = []
    steps: list[str] = []
    connection = asyncio.Lock()

    async def hook(event: events.Event) -> None:
        async with connection:
            for _ in range(STEPS):
                await pg.execute("select 1")
        trail.append(event)
        steps.append("written")

    async def resource(_app: web.Application) -> AsyncIterator[None]:
        yield
        steps.append("closed")

    app = make_app(dsn, on_event=hook)
    app.cleanup_ctx.insert(0, resource)  # opened before the sessions and closed after them
    async with visit(app) as site:
        browser = await (await site.browser()).login("alice")
        await browser.run(lambda sessions: sessions.logout())
    assert steps == [*["written"] * 3, "closed"]
    assert {type(event) for event in trail} == {events.Created, events.NewDevice, events.Revoked}
