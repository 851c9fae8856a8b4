"""The application that the tests visit, the browsers that visit it, and a way to let time pass."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from aiohttp import ClientResponse, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

import aiosess

SECRET = "a-secret-for-tests-0123456789-abcdefghijk"
COOKIE = "__Host-session"

routes = web.RouteTableDef()


@routes.post("/login/{user}")
async def login(request: web.Request) -> web.Response:
    """Sign anybody in who asks."""
    await request["sessions"].authenticate(request.match_info["user"], remember="brief" not in request.query)
    return web.Response(text="in")


@routes.get("/me")
async def me(request: web.Request) -> web.Response:
    """Say who is asking."""
    sessions = request["sessions"]
    current = sessions.current
    return web.json_response(
        {
            "user": sessions.user_id,
            "id": current and str(current.id),
            "data": current and dict(current.data),
        }
    )


@routes.get("/public")
async def public(_request: web.Request) -> web.Response:
    """Answer without looking at who is asking."""
    return web.Response(text="public")


@routes.post("/set/{key}")
async def set_key(request: web.Request) -> web.Response:
    """Set a key of the data to the JSON in the body."""
    await request["sessions"].set(request.match_info["key"], await request.json())
    return web.Response(text="set")


@routes.post("/do/{name}")
async def do(request: web.Request) -> web.Response:
    """Call a method of the manager that takes nothing and say what it returned."""
    result = await getattr(request["sessions"], request.match_info["name"])()
    return web.Response(text=repr(result))


@routes.post("/revoke/{id}")
async def revoke(request: web.Request) -> web.Response:
    """End one of the user's sessions."""
    await request["sessions"].revoke(request.match_info["id"])
    return web.Response(text="revoked")


def make_app(dsn: str, *more: web.AbstractRouteDef, **options: Any) -> web.Application:
    """Return the application, with more routes where a test needs them."""
    app = web.Application()
    options.setdefault("secret", SECRET)
    if "pool" not in options:
        options["dsn"] = dsn
    aiosess.setup(app, **options)
    app.add_routes(routes)
    app.add_routes(more)
    return app


class Browser:
    """A cookie jar and a way to ask with it."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        """Start with an empty jar."""
        self.client = client

    @property
    def token(self) -> str | None:
        """The session cookie's value."""
        return next((cookie.value for cookie in self.client.session.cookie_jar if cookie.key == COOKIE), None)

    @token.setter
    def token(self, value: str) -> None:
        self.client.session.cookie_jar.update_cookies({COOKIE: value}, self.client.make_url("/"))

    async def get(self, path: str, **options: Any) -> ClientResponse:
        """Ask with GET."""
        return await self._finished(await self.client.get(path, allow_redirects=False, **options))

    async def post(self, path: str, **options: Any) -> ClientResponse:
        """Ask with POST."""
        return await self._finished(await self.client.post(path, allow_redirects=False, **options))

    async def login(self, user: str) -> "Browser":
        """Sign in."""
        assert (await self.post(f"/login/{user}")).status == 200
        return self

    async def user(self) -> str | None:
        """Return who the site says is asking; None for nobody."""
        response = await self.get("/me")
        assert response.status == 200, response.status
        user: str | None = (await response.json())["user"]
        return user

    @staticmethod
    async def _finished(response: ClientResponse) -> ClientResponse:
        await response.read()
        return response


class Site:
    """A running application."""

    def __init__(self, server: TestServer) -> None:
        """Take a server that listens."""
        self.server = server
        self._clients: list[TestClient[Any, Any]] = []

    @property
    def store(self) -> aiosess.SessionStore:
        """The application's store."""
        return self.server.app[aiosess.STORE]

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        assert self.server.port is not None
        return self.server.port

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

    async def close(self) -> None:
        """Close the browsers and the server."""
        for client in self._clients:
            await client.session.close()
        await self.server.close()


@asynccontextmanager
async def visit(app: web.Application) -> AsyncIterator[Site]:
    """Run an application for a while."""
    server = TestServer(app)
    await server.start_server()
    site = Site(server)
    try:
        yield site
    finally:
        await site.close()


async def age(pg: asyncpg.Connection, seconds: float, where: str = "true") -> None:
    """Let time pass for sessions: move every instant of their rows into the past, as though they had been idle."""
    await pg.execute(
        f"""
        update aiosess_sessions set
            promoted_at = promoted_at - $1 * interval '1 second',
            settled_at = settled_at - $1 * interval '1 second',
            mint_until = mint_until - $1 * interval '1 second',
            authenticated_at = authenticated_at - $1 * interval '1 second',
            created_at = created_at - $1 * interval '1 second',
            last_active_at = last_active_at - $1 * interval '1 second',
            expires_at = expires_at - $1 * interval '1 second',
            ends_at = ends_at - $1 * interval '1 second',
            retired = (
                select coalesce(jsonb_agg(jsonb_build_array(e->0, (e->>1)::numeric - $1)), '[]')
                from jsonb_array_elements(retired) e
            )
        where {where}
        """,
        seconds,
    )
