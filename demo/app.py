"""The demo as an aiohttp application."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import asyncpg
from aiohttp import web

import aiosess
from demo import pages, views
from demo.accounts import ACCOUNTS, Accounts
from demo.alarms import noting_thefts, thefts, with_thefts
from demo.throttle import THROTTLE, Throttle

POOL = web.AppKey("pool", asyncpg.Pool)
CONNECT_TIMEOUT = 10  # seconds
LARGEST_BODY = 64 * 1024  # bytes

# To watch a theft: with the defaults, it takes 25 minutes until aiosess finds one.
FAST = {
    "rotate_every": timedelta(seconds=30),
    "late_window": timedelta(seconds=15),
    "rotation_overlap": timedelta(seconds=3),
}


def make_app(dsn: str, *, secret: str, insecure_cookies: bool, fast: bool = False) -> web.Application:
    """
    Return the application.

    Args:
        dsn: The PostgreSQL of accounts and sessions.
        secret: It signs the session cookies; at least 32 bytes.
        insecure_cookies: For plain http on localhost only; False sends ``__Host-`` cookies, which need https.
        fast: Replace tokens every half minute; the home page says why.

    """
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[pages.error_pages, with_thefts])
    app[THROTTLE] = Throttle()
    app.cleanup_ctx.append(_database(dsn))
    app[pages.COOKIE] = cookie = "session" if insecure_cookies else "__Host-session"
    options: dict[str, Any] = FAST if fast else {}
    hook = noting_thefts(app)
    aiosess.setup(app, pool=POOL, secret=secret, insecure_cookies=insecure_cookies, on_event=hook, **options)
    pages.install(app, thefts=thefts, fast=fast, cookie=cookie)
    aiosess.setup_devices(app, "/devices", reauthenticate="/confirm", after_logout="/sign-in?done=signed-out")
    app.add_routes(views.ROUTES)
    app.router.add_static("/static", pages.HERE / "static")
    return app


def _database(dsn: str) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return the cleanup context of the pool: it opens before the sessions need it, and closes after them."""

    async def opened(app: web.Application) -> AsyncIterator[None]:
        # With a minimum size, asyncpg would log a traceback at each try to restore it during an outage.
        async with asyncpg.create_pool(dsn, min_size=0, timeout=CONNECT_TIMEOUT) as pool:
            app[POOL] = pool
            app[ACCOUNTS] = Accounts(pool)
            await app[ACCOUNTS].prepare()
            yield

    return opened
