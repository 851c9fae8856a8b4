"""Middlewares outside of ours that run the handler in a task of its own, so that no ContextVar reaches the response."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

import aiosess
from tests.world.ageing import make_due
from tests.world.app import make_app
from tests.world.site import visit
from tests.world.wire import request_bytes, set_cookies

Runner = Callable[[Awaitable[web.StreamResponse]], Awaitable[web.StreamResponse]]


async def _in_time(work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    return await asyncio.wait_for(asyncio.ensure_future(work), 60)  # since 3.12 wait_for() itself makes no task


async def _shielded(work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    return await asyncio.shield(work)


async def _as_a_task(work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    return await asyncio.ensure_future(work)


RUNNERS = [_in_time, _shielded, _as_a_task]


def middleware_of(run: Runner, *, clones: bool = False, replaces: bool = False) -> Middleware:
    """Return a middleware that runs the handler so; with a copy of the request, or with another response at its end."""

    @web.middleware
    async def outside(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await run(handler(request.clone() if clones else request))
        return web.Response(text="replaced") if replaces else response

    return outside


def make_site(dsn: str, outside: Middleware, *, parent: bool) -> web.Application:
    """Return the application with a middleware outside of ours: in a parent application, or inserted before ours."""
    app = make_app(dsn)
    if parent:
        top = web.Application(middlewares=[outside])
        top.add_subapp("/sub/", app)
        return top
    app.middlewares.insert(0, outside)
    return app


@pytest.mark.parametrize("parent", [True, False], ids=["parent", "inserted first"])
@pytest.mark.parametrize("clones", [True, False], ids=["clone", "same request"])
@pytest.mark.parametrize("run", RUNNERS)
async def test_cookies_arrive_from_another_task(
    run: Runner, dsn: str, pg: asyncpg.Connection, *, clones: bool, parent: bool
) -> None:
    """Login, rotation, Vary and logout reach the response, although its hook runs outside of the handler's task."""
    app = make_site(dsn, middleware_of(run, clones=clones and not parent), parent=parent)
    prefix = "/sub" if parent else ""
    async with visit(app) as site:
        browser = await site.browser()
        response = await browser.post(f"{prefix}/login/ada")
        assert len(set_cookies(response)) == 1
        assert response.headers["Cache-Control"] == "no-store"
        await make_due(pg)
        response = await browser.get(f"{prefix}/me")
        assert (await response.json())["user"] == "ada"
        assert len(set_cookies(response)) == 1
        response = await browser.get(f"{prefix}/me")
        assert set_cookies(response) == []
        assert response.headers["Vary"] == "Cookie"
        (cookie,) = set_cookies(await browser.post(f"{prefix}/do/logout"))
        assert "Max-Age=0" in cookie


async def test_error_arrives_from_another_task(dsn: str) -> None:
    """A redirect that is raised after a login carries the cookie, as a response that is returned does."""

    async def login(request: web.Request) -> web.Response:
        await request["sessions"].authenticate("ada")
        raise web.HTTPFound(location="/")

    app = make_app(dsn, web.get("/in", login))
    app.middlewares.insert(0, middleware_of(_in_time, clones=True))
    async with visit(app) as site:
        assert len(set_cookies(await (await site.browser()).get("/in"))) == 1


@pytest.mark.parametrize("run", RUNNERS)
async def test_cookie_arrives_with_another_response(run: Runner, dsn: str) -> None:
    """The request itself leads to the cookie, when a middleware outside answers with a response of its own."""
    app = make_app(dsn)
    app.middlewares.insert(0, middleware_of(run, replaces=True))
    async with visit(app) as site:
        response = await (await site.browser()).post("/login/ada")
        assert await response.text() == "replaced"
        assert len(set_cookies(response)) == 1


async def test_unchecked_response_from_another_task_may_be_cached(dsn: str) -> None:
    """Where nothing leads from the response to its request, only one of a checked route is kept apart by caches."""

    @aiosess.unchecked
    async def look(_request: web.Request) -> web.Response:
        return web.Response(text="open")

    app = make_app(dsn, web.get("/open", look))
    app.middlewares.insert(0, middleware_of(_in_time, clones=True))
    async with visit(app) as site:
        browser = await site.browser()
        assert "Vary" not in (await browser.get("/open")).headers
        assert (await browser.get("/public")).headers["Vary"] == "Cookie"


async def test_two_setups_keep_apart_in_another_task(dsn: str) -> None:
    """With a setup() above and one below, the task outside brings each response the cookies of both, each once."""
    app = make_app(dsn, cookie_name="site")
    app.add_subapp("/sub/", make_app(dsn, cookie_name="sub"))
    app.middlewares.insert(0, middleware_of(_in_time, replaces=True))
    async with visit(app) as site:
        browser = await site.browser()
        (cookie,) = set_cookies(await browser.post("/sub/login/ada"))
        assert cookie.startswith("__Host-sub=")
        (cookie,) = set_cookies(await browser.post("/login/ada"))
        assert cookie.startswith("__Host-site=")


async def forget_timers() -> None:
    """Let the loop forget timers that were cancelled: each keeps its request until it would have rung."""
    loop = asyncio.get_running_loop()
    for _ in range(1000):
        loop.call_later(60, gc.collect).cancel()
    await asyncio.sleep(0)
    gc.collect()


async def test_lost_cookie_is_in_the_log(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where neither the context nor the request nor the response leads to the cookie, the log names the reason."""
    app = make_app(dsn)
    app.middlewares.insert(0, middleware_of(_in_time, clones=True, replaces=True))
    async with visit(app) as site:
        response = await (await site.browser()).post("/login/ada")
        assert await response.text() == "replaced"
        assert set_cookies(response) == []
        assert response.headers["Vary"] == "Cookie"
    await forget_timers()
    lost = [record for record in caplog.records if "cookie was lost" in record.message]
    assert [record.levelno for record in lost] == [logging.WARNING]
    assert "ada" not in caplog.text


async def test_cookie_in_time_is_not_called_lost(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """A login whose cookie went out says nothing in the log."""
    async with visit(make_app(dsn)) as site:
        await (await site.browser()).login("ada")
    await forget_timers()
    assert "lost" not in caplog.text


async def test_shared_response_object_carries_no_foreign_cookie(dsn: str) -> None:
    """What waits with a response object for one request does not go out with the same object to another."""
    kept = web.Response(text="kept")
    signed_in, answered = asyncio.Event(), asyncio.Event()

    async def login(request: web.Request) -> web.Response:
        await request["sessions"].authenticate("ada")
        return kept

    async def look(_request: web.Request) -> web.Response:
        await signed_in.wait()
        return kept

    async def slow_login(work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        response = await asyncio.ensure_future(work)
        if not signed_in.is_set():
            signed_in.set()
            await answered.wait()
        return response

    app = make_app(dsn, web.get("/in", login), web.get("/look", look))
    app.middlewares.insert(0, middleware_of(slow_login, clones=True))
    async with asyncio.timeout(30), visit(app) as site:
        await (await site.wire()).send(request_bytes("/in"))
        reply = await (await site.wire()).ask(request_bytes("/look"))
        answered.set()
    assert (reply.body, set_cookies(reply)) == (b"kept", [])
