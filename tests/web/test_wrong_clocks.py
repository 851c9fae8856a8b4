"""Hosts whose clocks are wrong: sessions go by the database's clock, so nobody notices but whoever reads the log."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http.cookies import SimpleCookie
from typing import NamedTuple

import asyncpg
import pytest
from aiohttp import ClientSession, DummyCookieJar

from tests.world.serve import served
from tests.world.wire import COOKIE
from tests.world.wrong_clock import wrong_clock

pytestmark = [pytest.mark.needs("faketime"), pytest.mark.threat("TOK-06")]

OFFSETS = ("-90s", "+90s", "-10m", "+10m", "-2d", "+2d")
LIFE = 600  # seconds; shorter than most of the offsets


class Reply(NamedTuple):
    """What came: the body, and the token with its Max-Age if there was a cookie."""

    body: str
    token: str | None
    max_age: int | None


class Host:
    """A server process, and a browser without a jar that talks to it."""

    def __init__(self, port: int, browser: ClientSession) -> None:
        """Take both."""
        self.address = f"http://127.0.0.1:{port}"
        self.browser = browser

    async def ask(self, path: str, token: str | None = None, *, method: str = "GET") -> Reply:
        """Send a request, and return what came."""
        headers = {"Cookie": f"{COOKIE}={token}"} if token else {}
        async with self.browser.request(method, self.address + path, headers=headers) as response:
            assert response.status == 200, response.status
            cookie = SimpleCookie(response.headers.get("Set-Cookie", "")).get(COOKIE)
            body = await response.text()
            return Reply(body, None, None) if cookie is None else Reply(body, cookie.value, int(cookie["max-age"]))

    async def is_signed_in(self, token: str) -> bool:
        """Say whether a token is ada's here; its cookie must not be deleted by any answer."""
        reply = await self.ask("/me", token)
        assert reply.max_age != 0
        return '"user": "ada"' in reply.body


@asynccontextmanager
async def hosts(dsn: str, *offsets: str | None) -> AsyncIterator[list[Host]]:
    """Run a process for each offset; None: its clock is right."""
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(ClientSession(cookie_jar=DummyCookieJar()))
        made = []
        for offset in offsets:
            with wrong_clock(offset or "+0s"):
                limits = {"idle_timeout": LIFE, "absolute_timeout": LIFE}
                _, port = await stack.enter_async_context(served(dsn, **limits))
            made.append(Host(port, browser))
        yield made


@pytest.mark.parametrize("offset", OFFSETS)
async def test_host_with_a_wrong_clock(dsn: str, pg: asyncpg.Connection, offset: str) -> None:
    """A sign-in, a successor and a sign-out of such a host count on the others, and theirs count there."""
    async with hosts(dsn, offset, None) as (wrong, right):
        for here, there in ((wrong, right), (right, wrong)):
            first = await here.ask("/login/ada", method="POST")
            assert first.token
            assert first.max_age in range(LIFE - 60, LIFE + 1)
            assert await there.is_signed_in(first.token)
            assert await here.is_signed_in(first.token)
            an_hour_ago = "now() - interval '1 hour'"
            await pg.execute(f"update aiosess_sessions set promoted_at = {an_hour_ago}, settled_at = {an_hour_ago}")  # noqa: S608
            second = await here.ask("/me", first.token)
            assert second.token
            assert second.max_age in range(LIFE - 60, LIFE + 1)
            assert await there.is_signed_in(second.token)
            assert await here.is_signed_in(second.token)
            assert (await there.ask("/do/logout", second.token, method="POST")).max_age == 0
            assert not await here.is_signed_in(second.token)
            assert await pg.fetchval("select count(*) from aiosess_sessions") == 0


async def test_two_hosts_that_are_four_days_apart(dsn: str) -> None:
    """Hosts that are wrong in both directions accept each other's sessions too."""
    async with hosts(dsn, "-2d", "+2d") as (behind, ahead):
        for here, there in ((behind, ahead), (ahead, behind)):
            token = (await here.ask("/login/ada", method="POST")).token
            assert token
            assert await there.is_signed_in(token)
