"""A second response after the headers of a first are out: nothing of it is written into the first."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.world.app import make_app
from tests.world.site import visit
from tests.world.wire import COOKIE, request_bytes


@web.middleware
async def always_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 500 whatever fails."""
    try:
        return await handler(request)
    except Exception:  # noqa: BLE001 - what applications do
        return web.json_response({"error": "sorry"}, status=500)


async def failing_stream(request: web.Request) -> web.StreamResponse:
    """Begin a response and fail."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun")
    raise ZeroDivisionError


async def empty_stream(request: web.Request) -> web.StreamResponse:
    """Begin a response, say nothing and fail."""
    response = web.StreamResponse()
    await response.prepare(request)
    raise ZeroDivisionError


async def counted_stream(request: web.Request) -> web.StreamResponse:
    """Begin a response of a known length and fail in its midst."""
    response = web.StreamResponse()
    response.content_length = 100
    await response.prepare(request)
    await response.write(b"begun")
    raise ZeroDivisionError


@pytest.mark.threat("WSO-04")
@pytest.mark.parametrize("target", ["/guarded/stream", "/failing", "/empty", "/counted"])
@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
async def test_second_response_is_never_written(target: str, dsn: str, *, outside: bool) -> None:
    """When an error middleware answers for a stream that has begun, the connection ends instead."""
    more = [
        web.get("/failing", failing_stream),
        web.get("/empty", empty_stream),
        web.get("/counted", counted_stream),
    ]
    app = make_app(dsn, *more)
    if outside:
        app.middlewares.insert(0, always_answers)
    else:
        app.middlewares.append(always_answers)
    async with visit(app) as site:
        token = await site.login()
        wire = await site.wire()
        await wire.send(request_bytes(target, f"Cookie: {COOKIE}={token}".encode()))
        async with asyncio.timeout(30):
            if target == "/guarded/stream":
                await wire.until(b"guarded")
                await site.store.revoke_user("ada")
            sent = await wire.rest()
        assert sent.count(b"HTTP/1.1") <= (target != "/guarded/stream")
        assert b"sorry" not in sent


@pytest.mark.threat("WSO-04")
async def test_answer_for_a_response_that_did_not_begin_arrives(dsn: str) -> None:
    """An error middleware answers as ever while nothing is out."""

    async def failing(request: web.Request) -> web.Response:
        assert request["sessions"].user_id is None
        raise ZeroDivisionError

    app = make_app(dsn, web.get("/failing", failing))
    app.middlewares.append(always_answers)
    async with visit(app) as site:
        wire = await site.wire()
        assert (await wire.ask(request_bytes("/failing"))).status == 500
        assert (await wire.ask(request_bytes("/me"))).user is None
