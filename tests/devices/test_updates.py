"""Open devices pages: what the server tells them, how soon, and at what price."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic

import asyncpg
import pytest
from aiohttp import ClientResponse, web

import aiosess
from aiosess._postgres.clock import Clock
from aiosess.devices import updates
from aiosess.devices.setup import DEVICES
from aiosess.devices.updates import OpenPages
from aiosess.session import Tally
from tests.world.ageing import age
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.databases import logged_pool
from tests.world.devices import PAGE, page_site, signed_in
from tests.world.relay import relayed
from tests.world.site import visit
from tests.world.waiting import eventually

PATIENCE = 60.0  # seconds, for a busy machine


class Feed:
    """A page's stream of events."""

    def __init__(self, response: ClientResponse) -> None:
        """Take the response."""
        self._response = response

    async def next(self, within: float = PATIENCE) -> tuple[str, str]:
        """Return the next event's name and data; a line to keep the connection alive is "" and ""."""
        async with asyncio.timeout(within):
            lines = []
            while (line := (await self._response.content.readline()).decode()) not in {"\n", ""}:
                lines.append(line.rstrip("\n"))
            assert lines, "the stream has ended"
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        return fields.get("event", ""), fields.get("data", "")

    async def rest(self) -> bytes:
        """Read to the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            return await self._response.content.read()


@asynccontextmanager
async def feed(browser: Browser) -> AsyncIterator[Feed]:
    """Open the page's stream."""
    async with browser.client.get(f"{PAGE}/events") as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        yield Feed(response)


async def stamp(browser: Browser) -> str:
    """Return the stamp that is in the page's list now."""
    text = await (await browser.get(f"{PAGE}/list")).text()
    return text.split('data-stamp="')[1].split('"')[0]


async def test_an_open_page_is_told_of_comings_and_goings(dsn: str) -> None:
    """The stream tells the stamp of the list at first, and anew when a session began or ended elsewhere."""
    async with page_site(dsn) as site, page_site(dsn) as elsewhere:
        browser = await signed_in(site)
        async with feed(browser) as events:
            assert await events.next() == ("list", await stamp(browser))
            other = await signed_in(elsewhere)
            name, told = await events.next()
            assert (name, told) == ("list", await stamp(browser))
            assert str(await other.session_id()) in await (await browser.get(f"{PAGE}/list")).text()
            await other.run(lambda sessions: sessions.logout())
            assert await events.next() == ("list", await stamp(browser))


async def test_other_users_are_no_news(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens to somebody else's sessions is not told; the connection is only kept alive."""
    monkeypatch.setattr(updates, "ASK_EVERY", 0.05)
    monkeypatch.setattr(updates, "KEEP_ALIVE", 0.3)
    async with page_site(dsn) as site:
        browser = await signed_in(site)
        async with feed(browser) as events:
            assert (await events.next())[0] == "list"
            await signed_in(site, "grace")
            assert await events.next() == ("", "")


@pytest.mark.threat("SES-14")
async def test_a_page_whose_session_is_ended_is_told(dsn: str) -> None:
    """A session that is ended on another process ends its page's stream, with an event that says so."""
    async with page_site(dsn) as site, page_site(dsn) as elsewhere:
        browser, other = await signed_in(site), await signed_in(elsewhere)
        async with feed(other) as events:
            assert (await events.next())[0] == "list"
            await browser.run(lambda sessions: sessions.logout_other())
            told = await events.next()
            while told[0] == "list":  # the list of the user was shorter at once
                told = await events.next()
            assert told == ("ended", "")
            assert await events.rest() == b""


@pytest.mark.threat("SES-20")
async def test_an_open_page_keeps_no_session_alive(dsn: str, pg: asyncpg.Connection) -> None:
    """What an open page asks for, its list and its stream, again and again, moves no time; loading the page does."""
    times = "select last_active_at, expires_at from aiosess_sessions"
    async with page_site(dsn) as site:
        browser = await signed_in(site)
        await browser.get("/me")
        await site.installation.upkeep.flush()
        await age(pg, 7200)
        before = await pg.fetchrow(times)
        for _ in range(2):
            await stamp(browser)
            async with feed(browser) as events:
                await events.next()
            await site.installation.upkeep.flush()
        assert await pg.fetchrow(times) == before
        await browser.get(PAGE)
        await site.installation.upkeep.flush()
        assert await pg.fetchrow(times) != before


@pytest.mark.parametrize(
    ("change", "cause"),
    [("update aiosess_sessions set expires_at = now()", "expired"), ("delete from aiosess_sessions", "")],
)
async def test_a_page_is_told_why_its_session_ended(dsn: str, pg: asyncpg.Connection, change: str, cause: str) -> None:
    """A session whose time ran out is told from one that somebody ended."""
    async with page_site(dsn) as site, feed(await signed_in(site)) as events:
        await events.next()
        await pg.execute(change)
        assert await events.next() == ("ended", cause)


async def test_a_page_is_told_that_the_reason_is_unknown(
    dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is absent after the session's time may have been swept: nobody is told of a theft."""
    async with page_site(dsn) as site:
        browser = await signed_in(site)
        soon = "now() - idle_timeout + interval '40 s'"
        await pg.execute(f"update aiosess_sessions set last_active_at = {soon}, expires_at = {soon} + idle_timeout")  # noqa: S608 - a constant
        async with feed(browser) as events:
            await events.next()
            now = Clock.now
            monkeypatch.setattr(Clock, "now", lambda clock: now(clock) + timedelta(minutes=1))
            await pg.execute("delete from aiosess_sessions")
            assert await events.next() == ("ended", "unknown")


async def test_all_pages_cost_one_query_a_second(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty pages of two users are asked about in one query; without a page there is none."""
    monkeypatch.setattr(updates, "ASK_EVERY", 0.2)
    async with logged_pool(dsn) as (pool, statements), page_site(dsn, with_options={"pool": pool}) as site:

        def asked() -> int:
            return len([text for text in statements if "group by s.user_id" in text])

        browsers = [await signed_in(site, user) for user in ("ada", "grace")]
        tasks = asyncio.gather(*(first_event(browsers[number % 2]) for number in range(20)))
        await tasks
        began, before = monotonic(), asked()
        async with feed(browsers[0]) as one, feed(browsers[1]) as two:
            await one.next()
            await two.next()

            async def were_asked() -> bool:
                return asked() >= before + 4

            await eventually(were_asked)
            assert asked() - before <= (monotonic() - began) / 0.2 + 2


async def first_event(browser: Browser) -> None:
    """Open a page's stream until the first event."""
    async with feed(browser) as events:
        await events.next()


async def test_too_many_pages(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who opens page after page gets a 429 at some point; one that closes makes room."""
    monkeypatch.setattr(updates, "MAX_PAGES", 2)
    async with page_site(dsn) as site:
        browser = await signed_in(site)
        async with feed(browser) as first, feed(browser) as second:
            await first.next()
            await second.next()
            response = await browser.get(f"{PAGE}/events")
            assert response.status == 429
            assert "Retry-After" in response.headers

        async def opens() -> bool:
            async with browser.client.get(f"{PAGE}/events") as response:
                return response.status == 200

        await eventually(opens)


async def test_an_outage_ends_no_page(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While PostgreSQL does not answer open pages wait, and are told what has changed when it does."""
    monkeypatch.setattr(updates, "ASK_EVERY", 0.05)
    caplog.set_level(logging.DEBUG, "aiosess")
    brief = {"store_timeout": timedelta(seconds=0.3)}
    async with relayed(dsn) as relay, page_site(relay.dsn, with_options=brief) as site, page_site(dsn) as elsewhere:
        browser, other = await signed_in(site), await signed_in(elsewhere)

        async def answers(status: int) -> bool:
            return (await browser.get("/me")).status == status

        async with feed(browser) as events:
            assert (await events.next())[0] == "list"
            relay.swallows = True
            await eventually(lambda: answers(503))
            await eventually(lambda: "open devices pages wait" in caplog.text)
            await other.run(lambda sessions: sessions.logout())
            relay.swallows = False
            relay.cut()
            await eventually(lambda: answers(200))
            assert await events.next() == ("list", await stamp(browser))


async def test_shutdown_does_not_wait_for_pages(dsn: str) -> None:
    """An application that stops ends the streams at once."""
    async with page_site(dsn) as site, feed(await signed_in(site)) as events:
        await events.next()
        async with asyncio.timeout(PATIENCE):
            await site.server.close()


async def test_watch_closes_its_pages() -> None:
    """Closing the watch ends the iterations that wait, when nobody else does."""

    class Store:
        async def tally(self, _users: object) -> dict[str, Tally]:
            return {}

    open_pages = OpenPages()
    await open_pages.close()
    with open_pages.add("ada", Store()) as page:

        async def look() -> list[object]:
            return [tally async for tally in page.tallies()]

        looking = asyncio.create_task(look())
        await asyncio.sleep(0)
        await open_pages.close()
        assert await looking == []


async def test_stream_ends_when_the_watch_closes(dsn: str) -> None:
    """A stream whose watch is closed first ends with its end mark."""
    app = make_app(dsn)
    aiosess.setup_devices(app)
    app.on_shutdown.reverse()

    async def stop(_request: web.Request) -> web.Response:
        await app.on_shutdown[0](app)
        return web.Response()

    app.router.add_post("/stop", stop)
    async with visit(app) as site:
        browser = await signed_in(site)
        async with feed(browser) as events:
            await events.next()
            await browser.post("/stop")
            assert await events.rest() == b""


async def test_closed_pages_are_forgotten(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was closed is noticed by the next write to it, even where nobody tells; then nothing is asked."""
    monkeypatch.setattr(updates, "ASK_EVERY", 0.05)
    monkeypatch.setattr(updates, "KEEP_ALIVE", 0.05)
    app = make_app(dsn)
    aiosess.setup_devices(app)
    open_pages = app[DEVICES].open_pages
    async with visit(app, cancels=False) as site:
        async with feed(await signed_in(site)) as events:
            await events.next()
            assert open_pages._pages

        async def rests() -> bool:
            return open_pages._task is not None and open_pages._task.done() and not open_pages._pages

        await eventually(rests)


async def test_tally(dsn: str, pg: asyncpg.Connection) -> None:
    """The tally of several users counts live sessions, and knows nothing of those who have none."""
    async with page_site(dsn) as site:
        for user in ("ada", "ada", "grace", "eve"):
            await signed_in(site, user)
        await pg.execute("update aiosess_sessions set expires_at = now() where user_id = 'eve'")
        tallies = await site.store.tally(["ada", "grace", "eve", "nobody"])
        newest = await pg.fetchval("select max(created_at) from aiosess_sessions where user_id = 'ada'")
    assert {user: tally.total for user, tally in tallies.items()} == {"ada": 2, "grace": 1}
    assert tallies["ada"].newest_at == newest
