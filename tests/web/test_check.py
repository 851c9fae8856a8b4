"""``await sessions.check()``: routes that are not checked until somebody asks."""

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

import aiosess
from tests.world.app import make_app
from tests.world.databases import logged_pool
from tests.world.site import visit
from tests.world.wire import set_cookies


@web.middleware
async def who(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Look at who is asking, on every route of every kind."""
    sessions = request["sessions"]
    await sessions.check()
    await sessions.check()
    response = await handler(request)
    response.headers["X-User"] = str(sessions.user_id)
    return response


@aiosess.unchecked
async def open_handler(_request: web.Request) -> web.Response:
    """Answer without looking."""
    return web.Response(text="open")


@aiosess.unchecked
async def sign_in(request: web.Request) -> web.Response:
    """Sign in on a route that is not checked."""
    await request["sessions"].check()
    await request["sessions"].authenticate("bob")
    return web.Response(text="in")


@pytest.mark.parametrize("path", ["/open", "/files/open.txt", "/me", "/absent"])
async def test_middleware_can_look_on_every_route(path: str, dsn: str, tmp_path: Path) -> None:
    """A middleware that awaits check() finds out who is asking on unchecked handlers, files and 404s too."""
    (tmp_path / "open.txt").write_text("open")
    app = make_app(dsn, web.get("/open", open_handler), web.static("/files", tmp_path))
    app.middlewares.append(who)
    async with visit(app) as site:
        browser = await site.browser()
        if path != "/absent":
            response = await browser.get(path)
            assert (response.headers["X-User"], response.headers["Vary"]) == ("None", "Cookie")
        await browser.login("ada")
        response = await browser.get(path)
        assert response.headers.get("X-User") == (None if path == "/absent" else "ada")


async def test_check_asks_once_and_only_on_demand(dsn: str) -> None:
    """Where nobody asks for a check there is no query; a second check adds none."""

    @aiosess.unchecked
    async def maybe(request: web.Request) -> web.Response:
        if "check" in request.query:
            await request["sessions"].check()
            await request["sessions"].check()
            return web.Response(text=str(request["sessions"].user_id))
        return web.Response(text="open")

    async with (
        logged_pool(dsn) as (pool, statements),
        visit(make_app(dsn, web.get("/maybe", maybe), pool=pool)) as site,
    ):
        browser = await (await site.browser()).login("ada")
        statements.clear()
        assert await (await browser.get("/maybe")).text() == "open"
        assert statements == []
        assert await (await browser.get("/maybe?check")).text() == "ada"
        assert len(statements) == 1


async def test_sign_in_on_an_unchecked_route(dsn: str) -> None:
    """After a check() a sign-in works as it does elsewhere, and ends the session that the request brought."""
    async with visit(make_app(dsn, web.get("/in", sign_in))) as site:
        browser = await site.browser()
        assert len(set_cookies(await browser.get("/in"))) == 1
        assert len(set_cookies(await browser.get("/in"))) == 1
        assert await browser.user() == "bob"
        assert len(await site.store.list_for_user("bob")) == 1


async def test_unchecked_sign_in_and_out_need_a_check(dsn: str) -> None:
    """Without a check() no method guesses who is there: each says what to do."""
    seen: list[str] = []

    @aiosess.unchecked
    async def try_all(request: web.Request) -> web.Response:
        sessions = request["sessions"]
        for name, arguments in (
            ("authenticate", ("ada",)),
            ("logout", ()),
            ("logout_all", ()),
            ("logout_other", ()),
            ("rotate", ()),
            ("reauthenticated", ()),
            ("revoke", ("x",)),
            ("set", ("key", 1)),
            ("remove_key", ("key",)),
            ("list_my_sessions", ()),
        ):
            with pytest.raises(aiosess.NotChecked, match="check"):
                await getattr(sessions, name)(*arguments)
            seen.append(name)
        return web.Response()

    async with visit(make_app(dsn, web.get("/all", try_all))) as site:
        response = await (await site.browser()).get("/all")
        assert (response.status, set_cookies(response)) == (200, [])
    assert len(seen) == 10


async def test_check_during_an_outage(dsn: str) -> None:
    """When PostgreSQL does not answer, a check() leaves it unknown who is there: 503, not anonymous."""
    async with logged_pool(dsn) as (pool, _), visit(make_app(dsn, web.get("/in", sign_in), pool=pool)) as site:
        browser = await (await site.browser()).login("ada")
        pool.terminate()
        response = await browser.get("/in")
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
        assert set_cookies(response) == []
