"""Where the middleware stands among an application's own."""

from aiohttp import web
from aiohttp.typedefs import Handler

import aiosess
from tests.world.app import SECRET, routes
from tests.world.site import visit


async def test_middlewares_from_before_setup_have_sessions_too(dsn: str) -> None:
    """An application's middleware that was there before setup() was called sees who is asking."""
    seen: list[str | None] = []

    @web.middleware
    async def own(request: web.Request, handler: Handler) -> web.StreamResponse:
        seen.append(request["sessions"].user_id)
        return await handler(request)

    app = web.Application(middlewares=[own])
    aiosess.setup(app, dsn=dsn, secret=SECRET)
    app.add_routes(routes)
    async with visit(app) as site:
        browser = await (await site.browser()).login("alice")
        assert await browser.user() == "alice"
    assert seen == [None, "alice"]
