"""An application with a handler for every kind of response."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.world.wire import Reply, Wire, request_bytes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


UPGRADE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


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


async def ask(wire: Wire, method: str, target: str, *headers: bytes) -> Reply:
    """Ask in one of the ways of EVERY_KIND."""
    if method == "RANGE":
        return await wire.ask(request_bytes(target, *headers, b"Range: bytes=0-9"))
    if method == "WEBSOCKET":
        return await wire.ask(request_bytes(target, *headers, *UPGRADE))
    return await wire.ask(request_bytes(target, *headers, method=method))
