"""Handlers whose requests are no activity of the session: a page that polls without its user."""

from datetime import timedelta

import asyncpg
import pytest
from aiohttp import web

import aiosess
from tests.world.ageing import age, make_due
from tests.world.browser import Browser
from tests.world.site import Site
from tests.world.wire import set_cookies

TIMES = "select last_active_at, expires_at from aiosess_sessions"


class Polls:
    """A class of handlers; one of them is in the background."""

    @aiosess.background
    async def poll(self, request: web.Request) -> web.Response:
        """Say who is asking."""
        return web.json_response({"user": request["sessions"].user_id})


@aiosess.background
class PollView(web.View):
    """A class-based view that is polled."""

    async def get(self) -> web.Response:
        """Say who is asking."""
        return web.json_response({"user": self.request["sessions"].user_id})


POLLS = pytest.mark.site(web.get("/poll", Polls().poll), web.view("/view", PollView))


@POLLS
@pytest.mark.threat("SES-20")
@pytest.mark.parametrize("path", ["/poll", "/view"])
async def test_polling_keeps_no_session_alive(site: Site, ada: Browser, pg: asyncpg.Connection, path: str) -> None:
    """A request of a background handler is checked, and moves neither the last activity nor the end of the session."""
    await age(pg, 3600)
    before = await pg.fetchrow(TIMES)
    for _ in range(2):
        assert (await (await ada.get(path)).json())["user"] == "ada"
        await site.installation.upkeep.flush()
    assert await pg.fetchrow(TIMES) == before
    await ada.get("/me")
    await site.installation.upkeep.flush()
    after = await pg.fetchrow(TIMES)
    assert after is not None
    assert before is not None
    assert after["last_active_at"] - before["last_active_at"] > timedelta(minutes=59)
    assert after["expires_at"] > before["expires_at"]


@POLLS
async def test_polling_does_not_undo_activity(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """Activity counts when a request of a background handler comes in the same second."""
    await age(pg, 400)
    before = await pg.fetchval("select last_active_at from aiosess_sessions")
    await ada.get("/me")
    await pg.execute("update aiosess_sessions set settled_at = null")
    await ada.get("/poll")
    await site.installation.upkeep.flush()
    assert await pg.fetchval("select last_active_at > $1 and settled_at is not null from aiosess_sessions", before)


@POLLS
async def test_token_rotates_while_a_page_polls(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """Requests of a background handler get the successor, promote and settle it, and leave the times alone."""
    await make_due(pg)
    before = await pg.fetchrow(TIMES)
    first = ada.token
    assert len(set_cookies(await ada.get("/poll"))) == 1
    assert ada.token != first
    await ada.get("/poll")
    assert await pg.fetchval("select version = 2 and settled_at is null from aiosess_sessions")
    assert await pg.fetchrow(TIMES) == before
    await age(pg, 120)
    before = await pg.fetchrow(TIMES)
    await ada.get("/poll")
    await site.installation.upkeep.flush()
    assert await pg.fetchval("select settled_at is not null from aiosess_sessions")
    assert await pg.fetchrow(TIMES) == before


@POLLS
async def test_polled_session_expires(ada: Browser, pg: asyncpg.Connection) -> None:
    """A session that is only polled ends after its idle time."""
    await age(pg, timedelta(days=29).total_seconds())
    assert (await (await ada.get("/poll")).json())["user"] == "ada"
    await age(pg, timedelta(days=2).total_seconds())
    assert (await (await ada.get("/poll")).json())["user"] is None
