"""A running application, and everything that a test opened on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

import aiosess
from aiosess._web.installation import Installation
from tests.world.app import GATE
from tests.world.browser import Browser
from tests.world.waiting import Gate
from tests.world.wire import Reply, Wire, present, sign_in


class Site:
    """A running application."""

    def __init__(self, server: TestServer) -> None:
        """Take a server that listens."""
        self.server = server
        self._clients: list[TestClient[Any, Any]] = []
        self._wires: list[Wire] = []

    @property
    def store(self) -> aiosess.SessionStore:
        """The application's store."""
        return self.server.app[aiosess.STORE]

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        assert self.server.port is not None
        return self.server.port

    @property
    def gate(self) -> Gate:
        """Where the handler of /gate waits."""
        return self.server.app[GATE]

    async def browser(self, token: str | None = None) -> Browser:
        """Return a browser with an empty jar, or with a session cookie in it."""
        # The test client does not send Secure cookies to http://127.0.0.1 unless its jar is told that this is safe.
        jar = CookieJar(unsafe=True, treat_as_secure_origin=str(self.server.make_url("/").origin()))
        client = TestClient(self.server, cookie_jar=jar)
        self._clients.append(client)
        browser = Browser(client)
        if token is not None:
            browser.token = token
        return browser

    async def wire(self) -> Wire:
        """Return a connection for raw bytes; closed with the site."""
        wire = await Wire.open(self.port)
        self._wires.append(wire)
        return wire

    async def present(self, token: str, target: str = "/me", *headers: bytes, method: str = "GET") -> Reply:
        """Send a token once, on a connection of its own, whatever was sent or set before."""
        return await present(self.port, token, target, *headers, method=method)

    async def login(self, user: str = "ada") -> str:
        """Sign a user in on a connection of its own and return the token."""
        return await sign_in(self.port, user)

    @property
    def installation(self) -> Installation:
        """What setup() put together; for tests that write the upkeep's marks now instead of within a second."""
        owners = (getattr(run, "__self__", None) for run in self.server.app.cleanup_ctx)
        return next(owner for owner in owners if isinstance(owner, Installation))

    async def close(self) -> None:
        """Close the browsers, the connections and the server."""
        if GATE in self.server.app:
            self.gate.opened.set()  # the server waits for its handlers
        for wire in self._wires:
            await wire.close()
        for client in self._clients:
            # Their connections end without a closing handshake. The session would leave them to the garbage collector,
            # and Python complains then, in whichever test that is.
            for websocket in client._websockets:
                websocket._response.close()
            await client.session.close()
        await self.server.close()


class PatientServer(TestServer):
    """A server whose handlers go on when the client has gone: the default of aiohttp, if not of its TestServer."""

    async def _make_runner(self, **options: Any) -> web.AppRunner:
        return web.AppRunner(self.app, **options | {"handler_cancellation": False})


@asynccontextmanager
async def visit(app: web.Application, *, cancels: bool = True, **options: Any) -> AsyncIterator[Site]:
    """Run an application for a while; the options are those of aiohttp's server."""
    server = TestServer(app) if cancels else PatientServer(app)
    await server.start_server(**options)
    site = Site(server)
    try:
        yield site
    finally:
        await site.close()
