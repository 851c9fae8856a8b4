"""The cookie on responses of every kind, and the responses that leave the cookie alone."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest
from aiohttp import web

import aiosess
from aiosess import SessionManager
from tests.web.kinds import (
    EVERY_KIND,
    KINDS,
    UPGRADE,
    ask,
    sign_in,
)
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.databases import session_count
from tests.world.site import Site, visit
from tests.world.wire import COOKIE, request_bytes, set_cookies

DELETION = f"{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
CLOSE_FRAME = b"\x88\x80\0\0\0\0"


# Every kind of response


def kinds_app(dsn: str) -> web.Application:
    """Return an application that answers in every way."""
    app = make_app(dsn, *KINDS)
    app.middlewares.append(sign_in)
    sub = web.Application()
    sub.add_routes(KINDS)
    app.add_subapp("/sub/", sub)
    return app


@pytest.mark.threat("COO-05")
@pytest.mark.parametrize(("method", "path", "status"), EVERY_KIND)
async def test_login_reaches_every_kind_of_response(method: str, path: str, status: int, dsn: str) -> None:
    """Whatever the handler answers after a login, the response carries the cookie, no-store and Vary, once each."""
    async with visit(kinds_app(dsn)) as site:
        reply = await ask(await site.wire(), method, f"{path}?login=alice")
        assert reply.status == status
        (cookie,) = set_cookies(reply)
        token = cookie.partition(";")[0].partition("=")[2]
        assert await (await site.browser(token)).user() == "alice"
        assert reply.headers.getall("Cache-Control") == ["no-store"]
        assert reply.headers.getall("Vary") == ["Cookie"]


@pytest.mark.threat("COO-05")
@pytest.mark.parametrize(("method", "path", "status"), EVERY_KIND)
async def test_successor_reaches_every_kind_of_response(
    method: str, path: str, status: int, dsn: str, pg: asyncpg.Connection
) -> None:
    """A token that is due is succeeded on whatever response comes next, but for errors of the server."""
    async with visit(kinds_app(dsn)) as site:
        browser = await (await site.browser()).login("alice")
        await make_due(pg)
        reply = await ask(await site.wire(), method, path, f"Cookie: {COOKIE}={browser.token}".encode())
        assert reply.status == status
        assert len(set_cookies(reply)) == (0 if status == 500 else 1)


@pytest.mark.threat("COO-05")
async def test_applications_own_cookies_go_out_too(dsn: str) -> None:
    """Cookies that the handler set stay, with ours beside them."""

    async def handler(request: web.Request) -> web.Response:
        await request["sessions"].authenticate("alice")
        response = web.Response()
        response.set_cookie("theme", "dark")
        response.headers.add("Set-Cookie", "raw=1; Path=/")
        return response

    async with visit(make_app(dsn, web.get("/own", handler))) as site:
        cookies = set_cookies(await (await site.browser()).get("/own"))
        assert sorted(cookie.partition("=")[0] for cookie in cookies) == [COOKIE, "raw", "theme"]


@pytest.mark.parametrize(
    ("status", "headers", "asked"),
    [
        (500, {}, {}),
        (503, {}, {}),
        (200, {}, {"Sec-Purpose": "prefetch"}),
        (200, {}, {"Sec-Purpose": "prefetch;prerender"}),
        (200, {"Cache-Control": "public, max-age=60"}, {}),
        (200, {"Cache-Control": "max-age=31536000, Immutable"}, {}),
    ],
)
async def test_no_successor_where_it_could_be_lost_or_shared(
    status: int, headers: dict[str, str], asked: dict[str, str], dsn: str, pg: asyncpg.Connection
) -> None:
    """Nothing is minted on an error, for a prefetch or on a response that caches may share; the next response mints."""

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    async with visit(make_app(dsn, web.get("/other", handler))) as site:
        browser = await (await site.browser()).login("alice")
        await make_due(pg)
        response = await browser.get("/other", headers=asked)
        assert response.status == status
        assert not set_cookies(response)
        assert response.headers.get("Cache-Control") == headers.get("Cache-Control")
        assert len(set_cookies(await browser.get("/public"))) == 1


# After the headers


@pytest.mark.threat("COO-06")
@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.authenticate("mallory"),
        lambda s: s.authenticate_with("mallory", {}),
        lambda s: s.rotate(),
        lambda s: s.reauthenticated(),
        lambda s: s.logout(),
        lambda s: s.logout_all(),
    ],
)
async def test_no_change_after_the_headers(
    change: Callable[[SessionManager], Awaitable[None]], dsn: str, pg: asyncpg.Connection
) -> None:
    """What would need a Set-Cookie that can no longer be sent raises, and PostgreSQL has what it had."""
    caught: list[type[Exception]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await change(request["sessions"])
        except aiosess.ResponseStarted as error:
            caught.append(type(error))
        await response.write_eof()
        return response

    async with visit(make_app(dsn, web.post("/late", handler))) as site:
        browser = await (await site.browser()).login("alice")
        before = await pg.fetch("select * from aiosess_sessions")
        await browser.post("/late")
        assert caught == [aiosess.ResponseStarted]
        assert await pg.fetch("select * from aiosess_sessions") == before
        assert await browser.user() == "alice"


@pytest.mark.threat("COO-06")
async def test_anonymous_login_after_the_headers(dsn: str, pg: asyncpg.Connection) -> None:
    """A login in an open WebSocket makes no session that nobody could use."""
    caught: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        with pytest.raises(aiosess.ResponseStarted) as error:
            await request["sessions"].authenticate("alice")
        caught.append(str(error.value))
        await response.close()
        return response

    async with visit(make_app(dsn, web.get("/websocket", handler))) as site:
        wire = await site.wire()
        assert (await wire.ask(request_bytes("/websocket", *UPGRADE))).status == 101
        await wire.send(CLOSE_FRAME)
        await wire.rest()
    assert len(caught) == 1
    assert await session_count(pg) == 0


async def test_data_can_be_written_after_the_headers(dsn: str) -> None:
    """What needs no cookie goes on while a stream is open."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await request["sessions"].set("seen", 1)
        await response.write_eof()
        return response

    async with visit(make_app(dsn, web.post("/stream", handler))) as site:
        browser = await (await site.browser()).login("alice")
        await browser.post("/stream")
        assert (await (await browser.get("/me")).json())["data"] == {"seen": 1}


# No cookie is deleted in passing
LATE = timedelta(microseconds=1)  # over before any response goes out


@pytest.mark.threat("ROT-11")
@pytest.mark.parametrize("headers", [{}, NAVIGATION, {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}])
async def test_dead_cookie_is_left_alone(headers: dict[str, str], dsn: str) -> None:
    """However long a session has been over, the browser may have a newer cookie by now: a response deletes none."""
    async with visit(make_app(dsn, late_window=LATE, rotation_overlap=LATE)) as site:
        browser = await (await site.browser()).login("alice")
        await site.store.revoke_user("alice")
        for page in ("/me", "/me", "/public"):
            response = await browser.get(page, headers=headers)
            assert not set_cookies(response)
        assert browser.token is not None
        assert await browser.user() is None


@pytest.mark.threat("ROT-11")
async def test_rubbish_and_strangers_cookies_are_left_alone(dsn: str) -> None:
    """What never was a session of ours is not deleted either, on no page."""
    async with visit(make_app(dsn, late_window=LATE, rotation_overlap=LATE)) as site:
        browser = await site.browser("rubbish")
        for _ in range(2):
            assert not set_cookies(await browser.get("/me", headers=NAVIGATION))


@pytest.mark.threat("ROT-11")
@pytest.mark.parametrize("change", ["login", "rotate", "logout", "mint"])
@pytest.mark.parametrize("page", [False, True])
async def test_request_in_flight_leaves_the_newer_cookie_alone(
    change: str, dsn: str, pg: asyncpg.Connection, *, page: bool
) -> None:
    """A request that another tab's login, rotation or logout overtakes sends no cookie, though it is answered last."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        assert request["sessions"].user_id == "alice"
        arrived.set()
        await go_on.wait()
        return web.Response(text=str(request["sessions"].user_id))

    options = {"late_window": LATE, "rotation_overlap": LATE} if change != "mint" else {}
    async with visit(make_app(dsn, web.get("/slow", slow), **options)) as site:
        browser = await (await site.browser()).login("alice")
        other_tab = await site.browser(browser.token)
        if change == "mint":
            await make_due(pg)
        in_flight = asyncio.create_task(other_tab.get("/slow", headers=NAVIGATION if page else {}))
        await arrived.wait()
        path = {"login": "/login/bob", "mint": "/do/logout_other"}.get(change, f"/do/{change}")
        assert len(set_cookies(await browser.post(path))) == 1
        newest = browser.token
        go_on.set()
        assert not set_cookies(await in_flight)
        assert browser.token == newest
        assert await browser.user() == {"login": "bob", "logout": None}.get(change, "alice")


@pytest.mark.threat("ROT-11")
async def test_late_arrival_with_a_rotated_token_is_left_alone(dsn: str) -> None:
    """A page asked for with the token of before rotate() is anonymous and deletes nothing, however late it is."""
    async with visit(make_app(dsn, late_window=LATE, rotation_overlap=LATE)) as site:
        browser = await (await site.browser()).login("alice")
        late = await site.browser(browser.token)
        await browser.post("/do/rotate")
        for _ in range(2):
            assert not set_cookies(await late.get("/me", headers=NAVIGATION))


@pytest.mark.threat("ROT-11")
@pytest.mark.parametrize("method", ["logout", "logout_all"])
async def test_logout_clears_whatever_cookie_came(method: str, site: Site, pg: asyncpg.Connection) -> None:
    """Signing out deletes the cookie of a live, an expired and an unreadable session, and of two at once."""
    live = await (await site.browser()).login("alice")
    expired = await (await site.browser()).login("bob")
    await age(pg, 31 * 86400, "user_id = 'bob'")
    for browser in (live, expired, await site.browser("rubbish")):
        assert set_cookies(await browser.post(f"/do/{method}")) == [DELETION]
        assert browser.token is None
    wire = await site.wire()
    cookies = f"Cookie: {COOKIE}=a; {COOKIE}=b".encode()
    reply = await wire.ask(request_bytes(f"/do/{method}", cookies, b"Content-Length: 0", method="POST"))
    assert set_cookies(reply) == [DELETION]
