"""What open devices pages cost: one query for all pages of a process, however many there are."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest

import aiosess
from aiosess.devices import updates
from tests.world.app import make_app
from tests.world.site import Site, visit
from tests.world.waiting import eventually

USERS = ("ada", "eve", "grace", "hedy", "mary")
FOREVER = 86_400.0  # seconds


@asynccontextmanager
async def noting_pool(dsn: str, asked: list[set[str]]) -> AsyncIterator[asyncpg.Pool]:
    """Make a pool that notes the lists of users which PostgreSQL is asked about."""

    async def listen(connection: asyncpg.Connection) -> None:
        async def note(query: asyncpg.connection.LoggedQuery) -> None:
            lists = [json.loads(each) for each in query.args if isinstance(each, str) and each.startswith("[")]
            asked.extend(set(each) for each in lists if set(each) & set(USERS))

        connection.add_query_logger(note)

    async with asyncpg.create_pool(dsn, min_size=0, init=listen) as pool:
        yield pool


@asynccontextmanager
async def watched(pool: asyncpg.Pool) -> AsyncIterator[Site]:
    """Run an application with the page."""
    app = make_app("", pool=pool)
    aiosess.setup_devices(app)
    async with visit(app) as site:
        yield site


async def open_pages(site: Site, each: int, opened: AsyncExitStack) -> list[Any]:
    """Open the page so often for every user."""
    pages = []
    for user in USERS:
        browser = await (await site.browser()).login(user)
        for _ in range(each):
            page = await opened.enter_async_context(browser.client.get("/account/devices/events"))
            assert page.status == 200
            pages.append(page)
    return pages


async def test_one_query_asks_about_everybody(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While ten pages of five users are open, each query asks about all five."""
    monkeypatch.setattr(updates, "ASK_EVERY", 0.05)
    asked: list[set[str]] = []
    async with noting_pool(dsn, asked) as pool, watched(pool) as site, AsyncExitStack() as opened:
        await open_pages(site, 2, opened)

        async def were_asked() -> bool:
            return len(asked) >= 5

        await eventually(were_asked)  # one that was sent before the last page was opened may come in yet
        asked.clear()
        await eventually(were_asked)
    assert set(map(frozenset, asked)) == {frozenset(USERS)}


async def test_a_page_more_is_no_query_more(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that are opened while the process waits for its next turn wait for it, too."""
    monkeypatch.setattr(updates, "ASK_EVERY", FOREVER)
    asked: list[set[str]] = []
    async with noting_pool(dsn, asked) as pool, watched(pool) as site, AsyncExitStack() as opened:
        first, *_ = await open_pages(site, 2, opened)
        assert (await first.content.readline()).startswith(b"event: list")
        await site.store.count()
    assert asked == [{USERS[0]}]
