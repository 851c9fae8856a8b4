"""A page of a sibling subdomain in a real Chromium: it has the user's cookie for a handshake, and gets no WebSocket."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page

import aiosess
from tests.world.app import make_app
from tests.world.site import visit

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.threat("WSO-01")]

PATIENCE = 60_000  # milliseconds

# Browsers look for every name below localhost on their own machine; these two are one site and two origins.
OURS, SIBLING = "app.localhost", "evil.app.localhost"

# All that a page hears through a WebSocket until it has a message or is closed.
LISTEN = """
(url) => new Promise((done) => {
  const socket = new WebSocket(url);
  socket.onmessage = (event) => done(event.data);
  socket.onclose = (event) => done(event.code);
})
"""


async def show(_request: web.Request) -> web.Response:
    """Show a page."""
    return web.Response(text="<!doctype html><title>Page</title>", content_type="text/html")


async def careless(request: web.Request) -> web.WebSocketResponse:
    """Say who asks, and look at no origin."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    await websocket.send_str(str(request["sessions"].user_id))
    await websocket.close()
    return websocket


protected = aiosess.csrf_protected(careless)


@pytest.fixture
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """Return a new browser profile."""
    context = await chromium.new_context()
    context.set_default_timeout(PATIENCE)
    yield context
    await context.close()


async def heard(page: Page, port: int, path: str) -> str | int:
    """Return what a page hears through a WebSocket of ours: the first message, or else the close code."""
    answer: str | int = await page.evaluate(LISTEN, f"ws://{OURS}:{port}{path}")
    return answer


async def test_sibling_page_gets_no_socket(dsn: str, context: BrowserContext) -> None:
    """Its handshake brings the cookie, as a careless handler shows; guard() and csrf_protected refuse it alone."""
    app = make_app(dsn, web.get("/page", show), web.get("/careless", careless), web.get("/protected", protected))
    async with visit(app) as site:
        ours, sibling = await context.new_page(), await context.new_page()
        await ours.goto(f"http://{OURS}:{site.port}/page")
        assert await ours.evaluate("fetch('/login/ada', {method: 'POST'}).then((response) => response.status)") == 200
        await sibling.goto(f"http://{SIBLING}:{site.port}/page")
        paths = ("/careless", "/guarded/socket", "/protected")
        assert [await heard(ours, site.port, path) for path in paths] == ["ada", "guarded", "ada"]
        assert [await heard(sibling, site.port, path) for path in paths] == ["ada", 1008, 1006]
