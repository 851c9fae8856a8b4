"""What goes out: the cookie on every kind of response and to nobody else, Vary, no-store, and when nothing is sent."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict

import aiosess
from aiosess import SessionManager
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.databases import session_count
from tests.world.site import Site, visit
from tests.world.wire import COOKIE, Reply, Wire, request_bytes, set_cookies

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

DELETION = f"{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
UPGRADE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)

CLOSE_FRAME = b"\x88\x80\0\0\0\0"


# Every kind of response


@web.middleware
async def sign_in(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Sign in whoever the query names, before any handler, so that even a 404 has a cookie to carry."""
    if user := request.query.get("login"):
        await request["sessions"].authenticate(user)
    return await handler(request)


async def plain(_request: web.Request) -> web.Response:
    """Answer with text."""
    return web.Response(text="ok")


async def redirect(_request: web.Request) -> web.Response:
    """Raise a redirect, as after a login."""
    raise web.HTTPFound(location="/")


async def returned_redirect(_request: web.Request) -> web.Response:
    """Return a redirect that is no exception."""
    return web.Response(status=303, headers={"Location": "/"})


async def missing(_request: web.Request) -> web.Response:
    """Raise a 404."""
    raise web.HTTPNotFound


async def crash(_request: web.Request) -> web.Response:
    """Fail as programs do."""
    raise ZeroDivisionError


async def wrong(_request: web.Request) -> Any:
    """Return what is no response."""
    return None


async def empty(_request: web.Request) -> web.Response:
    """Answer without a body."""
    return web.Response(status=204)


async def file(_request: web.Request) -> web.FileResponse:
    """Send this file."""
    return web.FileResponse(__file__)


async def stream(request: web.Request) -> web.StreamResponse:
    """Send a body in pieces."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"one")
    await response.write(b"two")
    await response.write_eof()
    return response


async def server_sent_events(request: web.Request) -> web.StreamResponse:
    """Send events to an EventSource."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    await response.write(b"data: 1\n\n")
    await response.write_eof()
    return response


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Shake hands and leave."""
    response = web.WebSocketResponse()
    await response.prepare(request)
    await response.close()
    return response


class View(web.View):
    """A class-based view."""

    async def get(self) -> web.Response:
        """Answer with text."""
        return web.Response(text="view")


KINDS = [
    web.get("/plain", plain),
    web.get("/redirect", redirect),
    web.get("/returned-redirect", returned_redirect),
    web.get("/missing", missing),
    web.get("/crash", crash),
    web.get("/wrong", wrong),
    web.get("/empty", empty),
    web.get("/file", file),
    web.get("/stream", stream),
    web.get("/events", server_sent_events),
    web.get("/websocket", websocket),
    web.view("/view", View),
]

EVERY_KIND = [
    ("GET", "/plain", 200),
    ("GET", "/view", 200),
    ("GET", "/redirect", 302),
    ("GET", "/returned-redirect", 303),
    ("GET", "/missing", 404),
    ("GET", "/no/such/route", 404),
    ("DELETE", "/plain", 405),
    ("GET", "/crash", 500),
    ("GET", "/wrong", 500),
    ("GET", "/empty", 204),
    ("GET", "/file", 200),
    ("RANGE", "/file", 206),
    ("GET", "/stream", 200),
    ("GET", "/events", 200),
    ("WEBSOCKET", "/websocket", 101),
    ("GET", "/websocket", 400),
    ("GET", "/sub/plain", 200),
    ("GET", "/sub/no/such/route", 404),
    ("WEBSOCKET", "/sub/websocket", 101),
]


def kinds_app(dsn: str) -> web.Application:
    """Return an application that answers in every way."""
    app = make_app(dsn, *KINDS)
    app.middlewares.append(sign_in)
    sub = web.Application()
    sub.add_routes(KINDS)
    app.add_subapp("/sub/", sub)
    return app


async def ask(wire: Wire, method: str, target: str, *headers: bytes) -> Reply:
    """Ask in one of the ways of EVERY_KIND."""
    if method == "RANGE":
        return await wire.ask(request_bytes(target, *headers, b"Range: bytes=0-9"))
    if method == "WEBSOCKET":
        return await wire.ask(request_bytes(target, *headers, *UPGRADE))
    return await wire.ask(request_bytes(target, *headers, method=method))


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


# Nobody gets another's cookie


async def until_public(wire: Wire, path: str, *headers: bytes) -> list[Reply]:
    """Ask for a path, then for /public on the same connection; return all that comes until the latter is answered."""
    await wire.send(request_bytes(path, *headers), request_bytes("/public"))
    replies = [await wire.read()]
    while replies[-1].body != b"public":
        replies.append(await wire.read())
    return replies


@pytest.mark.threat("COO-05")
@pytest.mark.parametrize("kind", ["response", "exception"])
async def test_shared_response_object_gives_the_cookie_to_one(kind: str, dsn: str) -> None:
    """
    A response object that an application returns again and again never brings one user's cookie to another.

    aiohttp sends such an object once: the second time it sends nothing at all.
    """
    shared = web.Response(text="shared") if kind == "response" else web.HTTPForbidden(text="shared")

    async def handler(_request: web.Request) -> web.Response:
        if isinstance(shared, web.HTTPException):
            raise shared
        return shared

    app = make_app(dsn, web.get("/shared", handler))
    app.middlewares.append(sign_in)
    async with visit(app) as site:
        first = await until_public(await site.wire(), "/shared?login=alice")
        assert [len(set_cookies(reply)) for reply in first] == [1, 0]
        for path in ("/shared", "/shared?login=bob"):
            later = await until_public(await site.wire(), path)
            assert [(reply.body, set_cookies(reply)) for reply in later] == [(b"public", [])]


@pytest.mark.threat("COO-05")
async def test_shared_response_object_in_parallel(dsn: str, pg: asyncpg.Connection) -> None:
    """
    When two requests send one object at a time, while the cookie waits for a query, no cookie changes hands.

    aiohttp sends the body to one of them and closes the other's connection; neither gets a cookie.
    """
    shared = web.Response(text="shared")
    together = asyncio.Barrier(2)

    async def handler(_request: web.Request) -> web.Response:
        await together.wait()
        return shared

    async with visit(make_app(dsn, web.get("/shared", handler))) as site:
        browsers = [await (await site.browser()).login(user) for user in ("alice", "bob")]
        await make_due(pg)
        wires = [await site.wire() for _ in browsers]
        for wire, browser in zip(wires, browsers, strict=True):
            cookie = f"Cookie: {COOKIE}={browser.token}".encode()
            await wire.send(request_bytes("/shared", cookie, b"Connection: close"))
        answers = await asyncio.gather(*(wire.rest() for wire in wires))
        assert b"".join(answers).count(b"shared") <= 1
        for answer in answers:
            assert b"set-cookie" not in answer.lower()


@pytest.mark.threat("COO-05")
@pytest.mark.parametrize("kind", ["response", "exception", "stream", "file", "real"])
async def test_shared_headers_give_the_cookie_to_one(kind: str, dsn: str) -> None:
    """One dict of headers that an application gives to all its responses takes no cookie from one to the next."""
    shared = CIMultiDict({"X-Frame-Options": "DENY"})

    async def handler(request: web.Request) -> web.StreamResponse:
        if kind == "response":
            return web.Response(headers=shared)
        if kind == "exception":
            raise web.HTTPForbidden(headers=shared)
        if kind == "file":
            return web.FileResponse(__file__, headers=shared)
        response = web.StreamResponse(headers=shared)
        if kind == "real":
            response = web.StreamResponse(_real_headers=shared)
        await response.prepare(request)
        await response.write_eof()
        return response

    app = make_app(dsn, web.get("/shared", handler))
    app.middlewares.append(sign_in)
    async with visit(app) as site:
        assert len(set_cookies(await (await site.browser()).get("/shared?login=alice"))) == 1
        assert "Set-Cookie" not in shared
        assert shared.get("Cache-Control") is None
        response = await (await site.browser()).get("/shared")
        assert response.headers["X-Frame-Options"] == "DENY"
        assert not set_cookies(response)
        assert len(set_cookies(await (await site.browser()).get("/shared?login=bob"))) == 1


@pytest.mark.threat("COO-05")
async def test_headers_kept_by_a_cache_of_the_application(dsn: str) -> None:
    """A middleware that keeps a response's headers for the next visitor does not keep the cookie."""
    kept: list[CIMultiDict[str]] = []

    @web.middleware
    async def caching(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/plain" and kept:
            return web.Response(body=b"me", headers=kept[0])
        response = await handler(request)
        kept.append(response.headers)
        return response

    app = make_app(dsn, web.get("/plain", plain))
    app.middlewares.extend([caching, sign_in])
    async with visit(app) as site:
        assert len(set_cookies(await (await site.browser()).get("/plain?login=alice"))) == 1
        response = await (await site.browser()).get("/plain")
        assert await response.text() == "me"
        assert not set_cookies(response)


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


# Facts about aiohttp that the library is built on; when one of these fails, aiohttp has changed


KINDS_OF_PREPARE = [kind for kind in EVERY_KIND if not kind[1].startswith("/sub")]


@pytest.mark.parametrize(("method", "path", "status"), KINDS_OF_PREPARE)
async def test_fact_1_headers_work_in_on_response_prepare_and_set_cookie_does_not(
    method: str, path: str, status: int
) -> None:
    """A set_cookie() is dropped in on_response_prepare without a word; headers.add() works for every response."""

    async def add(_request: web.Request, response: web.StreamResponse) -> None:
        response.set_cookie("dropped", "1")
        response.headers.add("Set-Cookie", "kept=1")

    app = web.Application()
    app.add_routes(KINDS)
    app.on_response_prepare.append(add)
    async with visit(app) as site:
        reply = await ask(await site.wire(), method, path)
        assert reply.status == status
        assert set_cookies(reply) == ["kept=1"]


@pytest.mark.parametrize(("method", "path", "sent"), [("GET", "/plain", 1), ("GET", "/stream", 0)])
async def test_fact_1_a_middleware_is_too_late_for_streams(method: str, path: str, sent: int) -> None:
    """A header that a middleware adds to the response it gets back is missing on a stream."""

    @web.middleware
    async def add(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers.add("Set-Cookie", "late=1")
        return response

    app = web.Application(middlewares=[add])
    app.add_routes(KINDS)
    async with visit(app) as site:
        assert len(set_cookies(await ask(await site.wire(), method, path))) == sent


def test_fact_5_del_cookie_omits_secure() -> None:
    """The deletion of aiohttp has no Secure, so browsers ignore it for a __Host- name."""
    response = web.Response()
    response.del_cookie(COOKIE)
    assert "secure" not in response.cookies[COOKIE].output().lower()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python 3.14 knows the attribute")
def test_fact_5_partitioned_fails() -> None:
    """Partitioned cookies cannot be made with the standard library before Python 3.14."""
    with pytest.raises(Exception, match="partitioned"):
        web.Response().set_cookie("name", "value", partitioned=True)


@pytest.mark.parametrize("told", [False, True])
async def test_fact_11_test_client_keeps_secure_cookies_to_itself(*, told: bool) -> None:
    """The test client sends a Secure cookie to http://127.0.0.1 only if its jar is told that this is safe."""

    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text=request.headers.get("Cookie", ""))
        response.headers.add("Set-Cookie", "__Host-a=1; Path=/; Secure")
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    server = TestServer(app)
    await server.start_server()
    origin = str(server.make_url("/").origin())
    jar = CookieJar(unsafe=True, treat_as_secure_origin=origin) if told else CookieJar(unsafe=True)
    async with TestClient(server, cookie_jar=jar) as client:
        await client.get("/")
        response = await client.get("/")
        assert await response.text() == ("__Host-a=1" if told else "")
