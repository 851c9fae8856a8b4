"""Vary and Cache-Control of the responses, and anonymous traffic that leaves no trace."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import web

import aiosess
from aiosess import SessionManager
from tests.world.ageing import make_due
from tests.world.app import make_app
from tests.world.databases import session_count
from tests.world.site import Site, visit
from tests.world.wire import COOKIE, Reply, Wire, request_bytes, set_cookies

# Vary and no-store


@pytest.mark.threat("COO-07")
@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize(
    "look",
    [
        lambda s: s.current,
        lambda s: s.user_id,
        lambda s: s.is_authenticated,
        lambda s: s.is_fresh(timedelta(minutes=1)),
        lambda s: s.get("key"),
        lambda s: s.list_my_sessions(),
        lambda s: s.set("key", 1),
        lambda s: s.remove_key("key"),
        lambda s: s.revoke("x"),
        lambda s: s.rotate(),
        lambda s: s.reauthenticated(),
        lambda s: s.logout(),
        lambda s: s.logout_all(),
        lambda s: s.logout_other(),
        lambda s: s.authenticate("bob"),
    ],
)
async def test_looking_adds_vary(look: Callable[[SessionManager], Any], site: Site, *, signed_in: bool) -> None:
    """Each way of finding out who is there marks the response, whether somebody is or not, and if it fails too."""

    async def run(sessions: SessionManager) -> None:
        result = look(sessions)
        if asyncio.iscoroutine(result):
            await result

    browser = await site.browser()
    if signed_in:
        await browser.login("alice")
    with suppress(aiosess.SessionError):
        await browser.run(run)
    assert browser.reply is not None
    assert browser.reply.headers.getall("Vary") == ["Cookie"]
    cookies = set_cookies(browser.reply)
    if cookies:
        assert browser.reply.headers.getall("Cache-Control") == ["no-store"]


@pytest.mark.threat("COO-07")
async def test_not_looking_adds_nothing(site: Site) -> None:
    """A page that does not ask who is there is the same for all, and caches may know that."""
    for browser in (await site.browser(), await (await site.browser()).login("alice")):
        response = await browser.get("/public")
        assert "Vary" not in response.headers
        assert "Cache-Control" not in response.headers


@pytest.mark.threat("COO-07")
@pytest.mark.parametrize(
    ("own", "sent"),
    [
        (["Accept-Encoding"], ["Accept-Encoding", "Cookie"]),
        (["Accept-Encoding, Origin"], ["Accept-Encoding", "Origin", "Cookie"]),
        (["Accept-Encoding", "Origin"], ["Accept-Encoding", "Origin", "Cookie"]),
        (["Cookie"], ["Cookie"]),
        (["cookie , Origin"], ["cookie", "Origin"]),
        (["Origin", "COOKIE"], ["Origin", "COOKIE"]),
        (["*"], ["*"]),
        (["Origin", "*"], ["Origin", "*"]),
        (["X-Cookie"], ["X-Cookie", "Cookie"]),
        ([""], ["Cookie"]),
    ],
)
async def test_vary_is_merged(own: list[str], sent: list[str], dsn: str) -> None:
    """What the application varies by stays, in however many headers it said so, and Cookie is there once."""

    async def handler(request: web.Request) -> web.Response:
        assert request["sessions"].user_id is None
        return web.Response(headers=[("Vary", value) for value in own])

    async with visit(make_app(dsn, web.get("/vary", handler))) as site:
        response = await (await site.browser()).get("/vary")
        fields = ",".join(response.headers.getall("Vary")).split(",")
        assert [field.strip() for field in fields if field.strip()] == sent


@pytest.mark.threat("COO-07")
@pytest.mark.parametrize("own", ["public, max-age=600", "private", "max-age=600, immutable"])
async def test_cookie_forbids_storing(own: str, dsn: str) -> None:
    """Whatever the application says of caching, a response that carries the cookie is stored by nobody."""

    async def handler(request: web.Request) -> web.Response:
        await request["sessions"].authenticate("alice")
        return web.Response(headers=[("Cache-Control", own), ("Cache-Control", "s-maxage=60")])

    async with visit(make_app(dsn, web.get("/cached", handler))) as site:
        response = await (await site.browser()).get("/cached")
        assert response.headers.getall("Cache-Control") == ["no-store"]


FOR_SINGLE_CACHES = [
    "CDN-Cache-Control",
    "Cloudflare-CDN-Cache-Control",
    "Surrogate-Control",
    "X-Accel-Expires",
    "Edge-Control",
]


@pytest.mark.threat("COO-07")
@pytest.mark.parametrize("name", FOR_SINGLE_CACHES)
async def test_login_takes_the_headers_for_single_caches_away(name: str, dsn: str) -> None:
    """A cache that obeys a header of its own instead of Cache-Control does not hear it of a response with a cookie."""

    async def handler(request: web.Request) -> web.Response:
        await request["sessions"].authenticate("alice")
        return web.Response(headers=[(name, "max-age=600"), (name.lower(), "60"), ("X-Own", "1")])

    async with visit(make_app(dsn, web.get("/cached", handler))) as site:
        response = await (await site.browser()).get("/cached")
        assert name not in response.headers
        assert response.headers["X-Own"] == "1"
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.threat("COO-07")
@pytest.mark.parametrize(
    ("header", "carries"),
    [
        *((f"{name}: max-age=60", False) for name in FOR_SINGLE_CACHES),
        ("Cache-Control: max-age=60, s-maxage=600", False),
        ("Cache-Control: PUBLIC", False),
        ("Cache-Control: private, max-age=60", True),
        ("X-Own: public", True),
    ],
)
async def test_successor_keeps_away_from_caches(
    header: str, dsn: str, pg: asyncpg.Connection, *, carries: bool
) -> None:
    """A response that a cache is to keep carries no successor, by whichever header the application invites it."""
    name, _, value = header.partition(": ")

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(headers={name: value})

    async with visit(make_app(dsn, web.get("/cached", handler))) as site:
        browser = await (await site.browser()).login("alice")
        await make_due(pg)
        response = await browser.get("/cached")
        assert len(set_cookies(response)) == carries
        if not carries:
            assert response.headers[name] == value


@pytest.mark.threat("COO-07")
async def test_stream_varies_before_anybody_looked(dsn: str) -> None:
    """A stream whose handler may look after the headers are out is kept apart by caches; an unchecked one is not."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(str(request["sessions"].user_id).encode())
        return response

    @aiosess.unchecked
    async def open_stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    async with visit(make_app(dsn, web.get("/stream", stream), web.get("/open", open_stream))) as site:
        browser = await (await site.browser()).login("alice")
        response = await browser.get("/stream")
        assert (await response.text(), response.headers["Vary"]) == ("alice", "Cookie")
        assert "Vary" not in (await browser.get("/open")).headers


@pytest.mark.parametrize("switched_on", [True, False])
async def test_no_store_when_signed_in(dsn: str, *, switched_on: bool) -> None:
    """With the option, what looked at a signed-in session is stored by nobody; anonymous and public pages may be."""

    async def cached(request: web.Request) -> web.Response:
        return web.Response(text=str(request["sessions"].user_id), headers={"Cache-Control": "private, max-age=60"})

    app = make_app(dsn, web.get("/cached", cached), no_store_when_signed_in=switched_on)
    async with visit(app) as site:
        browser = await site.browser()
        assert (await browser.get("/cached")).headers["Cache-Control"] == "private, max-age=60"
        await browser.login("alice")
        expected = "no-store" if switched_on else "private, max-age=60"
        assert (await browser.get("/cached")).headers["Cache-Control"] == expected
        assert "Cache-Control" not in (await browser.get("/public")).headers


# Anonymous traffic


@pytest.mark.threat("SES-11")
async def test_anonymous_traffic_leaves_no_trace(dsn: str, pg: asyncpg.Connection) -> None:
    """1,000 anonymous requests of all sorts make no row and set no cookie."""
    mix = [
        request_bytes("/me"),
        request_bytes("/public"),
        request_bytes("/no/such/route"),
        request_bytes("/me", b"Cookie: other=1; theme=dark"),
        request_bytes("/me", f"Cookie: {COOKIE}=rubbish".encode()),
        request_bytes("/me", f"Cookie: {COOKIE}=a; {COOKIE}=b".encode()),
        request_bytes("/do/logout", b"Content-Length: 0", method="POST"),
        request_bytes("/do/rotate", b"Content-Length: 0", method="POST"),
        request_bytes("/me", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Cookie: session=x"),
        request_bytes("/me", method="DELETE"),
    ]
    async with visit(make_app(dsn)) as site:
        wires = [await site.wire() for _ in range(4)]

        async def ask(wire: Wire) -> list[Reply]:
            await wire.send(*mix * 25)
            return [await wire.read() for _ in range(250)]

        replies = [reply for each in await asyncio.gather(*map(ask, wires)) for reply in each]
    assert len(replies) == 1000
    assert {reply.status for reply in replies} == {200, 401, 404, 405}
    assert [cookie for reply in replies for cookie in set_cookies(reply)] == []
    assert await session_count(pg) == 0
    assert await pg.fetchval("select count(*) from aiosess_logins") == 0
