"""Responses and headers that an application uses again: nobody gets another's cookie."""

import asyncio

import asyncpg
import pytest
from aiohttp import web
from multidict import CIMultiDict

from tests.web.kinds import (
    Handler,
    plain,
    sign_in,
)
from tests.world.ageing import make_due
from tests.world.app import make_app
from tests.world.site import visit
from tests.world.wire import COOKIE, Reply, Wire, request_bytes, set_cookies


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
