"""The application that the tests visit, the browsers that visit it, and a way to let time pass."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import ClientResponse, CookieJar, hdrs, web
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict

import aiosess
from aiosess._web.installation import Installation

SECRET = "a-secret-for-tests-0123456789-abcdefghijk"
NEW_SECRET = "another-secret-for-tests-0123456789-zyxwvut"
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


@routes.post("/upload")
async def upload(request: web.Request) -> web.Response:
    """Note in the data that a body comes, take it, and say who sent it and whether they proved lately who they are."""
    sessions = request["sessions"]
    if sessions.is_authenticated:
        await sessions.set("upload", "begun")
    body = await request.read()
    fresh = sessions.is_fresh(timedelta(minutes=5))
    return web.json_response({"user": sessions.user_id, "fresh": fresh, "size": len(body)})


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


@routes.get("/guarded/socket")
async def socket(request: web.Request) -> web.WebSocketResponse:
    """Say "guarded", then everything back that is said."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async with request["sessions"].guard(websocket):
        await websocket.send_str("guarded")
        async for message in websocket:
            await websocket.send_str(message.data)
    return websocket


@routes.get("/guarded/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    """Say "guarded" and nothing more."""
    response = web.StreamResponse()
    await response.prepare(request)
    async with request["sessions"].guard(response):
        await response.write(b"guarded")
        await asyncio.Event().wait()
    return response


def firefox(version: int = 143) -> str:
    """Return the User-Agent of a Firefox on Linux."""
    return f"Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"


@dataclass
class Gate:
    """Holds a handler, so that things happen between the check of its request and what it does next."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Tell that somebody is here, and wait until the gate is open."""
        self.entered.set()
        await self.opened.wait()


async def cut_connections(pg: asyncpg.Connection) -> set[int]:
    """End all connections to a connection's database but itself; return the pids of their backends."""
    records = await pg.fetch(
        """
        select pid, pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
        """
    )
    cut = {record["pid"] for record in records}
    # With a timeout pg_terminate_backend() would wait too, in steps of a tenth of a second for each.
    await eventually(lambda: pg.fetchval("select not exists (select from pg_stat_activity where pid = any($1))", cut))
    return cut


Job = Callable[[aiosess.SessionManager], Awaitable[Any]]


@dataclass
class Errand:
    """What a test wants done with the manager of a request, and what came of it."""

    job: Job
    result: Any = None
    error: Exception | None = None


_errands: dict[str, Errand] = {}


@routes.post("/errand/{number}")
async def run_errand(request: web.Request) -> web.Response:
    """Do what Browser.run() was given."""
    errand = _errands[request.match_info["number"]]
    try:
        errand.result = await errand.job(request["sessions"])
    except Exception as error:
        errand.error = error
        if isinstance(error, aiosess.SessionError):
            raise
        return web.Response(status=400)
    return web.Response(text="done")


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
        self.reply: ClientResponse | None = None

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

    async def run(self, job: Job) -> Any:
        """Do something with the manager inside a request; return its result or raise its error. See also reply."""
        number, errand = uuid4().hex, Errand(job)
        _errands[number] = errand
        try:
            self.reply = await self.post(f"/errand/{number}")
        finally:
            del _errands[number]
        if errand.error is not None:
            raise errand.error
        assert self.reply.status == 200, self.reply.status
        return errand.result

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


@dataclass
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    body: bytes = b""

    @property
    def user(self) -> str | None:
        """Who /me says is asking; None for nobody."""
        assert self.status == 200, self.status
        user: str | None = json.loads(self.body)["user"]
        return user

    @property
    def token(self) -> str | None:
        """The session cookie's value that it sets; "" when it deletes the cookie, None when it leaves it alone."""
        values = [line.split(";")[0].partition("=")[2] for line in set_cookies(self) if line.startswith(f"{COOKIE}=")]
        assert len(values) <= 1, "two session cookies in one response"
        return values[0] if values else None


class Wire:
    """A connection that sends bytes as they are, where a client library would mend them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the two ends of a connection."""
        self._reader = reader
        self._writer = writer

    async def send(self, *requests: bytes) -> None:
        """Send bytes; several requests are pipelined."""
        self._writer.write(b"".join(requests))
        await self._writer.drain()

    async def read(self) -> Reply:
        """Read the next answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        reply = Reply(int(head[0].split()[1]))
        for line in head[1:-2]:
            name, _, value = line.partition(":")
            reply.headers.add(name, value.strip())
        if reply.headers.get(hdrs.TRANSFER_ENCODING) == "chunked":
            while size := int(await self._reader.readline(), 16):
                reply.body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        elif reply.status not in {101, 204, 304}:
            reply.body = await self._reader.readexactly(int(reply.headers.get(hdrs.CONTENT_LENGTH, 0)))
        return reply

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        return await self._reader.read()

    async def ask(self, request: bytes) -> Reply:
        """Send one request and read its answer."""
        await self.send(request)
        return await self.read()

    def abort(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()


def request_bytes(target: str, *headers: bytes, method: str = "GET") -> bytes:
    """Return a request without a body."""
    return b"\r\n".join((f"{method} {target} HTTP/1.1".encode(), b"Host: site", *headers, b"", b""))


def set_cookies(reply: ClientResponse | Reply | None) -> list[str]:
    """Return the Set-Cookie headers of an answer."""
    assert reply is not None
    return reply.headers.getall(hdrs.SET_COOKIE, [])


@asynccontextmanager
async def logged_pool(dsn: str, **options: Any) -> AsyncIterator[tuple[asyncpg.Pool, list[str]]]:
    """Make a pool as an application would, and a list of every statement that goes through it."""
    statements: list[str] = []

    async def listen(connection: asyncpg.Connection) -> None:
        async def note(query: asyncpg.connection.LoggedQuery) -> None:
            statements.append(query.query)

        connection.add_query_logger(note)

    async with asyncpg.create_pool(dsn, min_size=0, max_size=10, init=listen, **options) as pool:
        yield pool, statements


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
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port))
        self._wires.append(wire)
        return wire

    async def present(self, token: str, target: str = "/me", *headers: bytes, method: str = "GET") -> Reply:
        """Send a token once, on a connection of its own, whatever was sent or set before."""
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            return await wire.ask(request_bytes(target, f"Cookie: {COOKIE}={token}".encode(), *headers, method=method))
        finally:
            await wire.close()

    @property
    def installation(self) -> Installation:
        """What setup() put together; for tests that write the upkeep's marks now instead of within a second."""
        owners = (getattr(run, "__self__", None) for run in self.server.app.cleanup_ctx)
        return next(owner for owner in owners if isinstance(owner, Installation))

    async def close(self) -> None:
        """Close the browsers, the connections and the server."""
        for wire in self._wires:
            await wire.close()
        for client in self._clients:
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


async def eventually(ask: Callable[[], Awaitable[Any]], *, within: float = 10) -> None:
    """Ask until the answer is true: for what other tasks, processes and servers do in their own time (seconds)."""
    async with asyncio.timeout(within):
        while not await ask():  # noqa: ASYNC110 - what is asked sends no events
            await asyncio.sleep(0.01)


async def somebody_waits(pg: asyncpg.Connection) -> None:
    """Wait until a statement waits for a lock that this connection holds."""
    query = "select exists (select from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid)))"
    await eventually(lambda: pg.fetchval(query))


def let_a_minute_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the process's clock forward, as though a password check had taken a minute since its request came in."""
    for name, module in list(sys.modules.items()):
        if name.startswith("aiosess.") and hasattr(module, "monotonic"):
            monkeypatch.setattr(module, "monotonic", lambda: monotonic() + 60)


async def age(pg: asyncpg.Connection, seconds: float, where: str = "true", *, table: str = "aiosess_sessions") -> None:
    """Let time pass for sessions: move every instant of their rows into the past, as though they had been idle."""
    await pg.execute(
        f"""
        update {table} set
            promoted_at = promoted_at - $1 * interval '1 second',
            settled_at = settled_at - $1 * interval '1 second',
            mint_until = mint_until - $1 * interval '1 second',
            holder_until = holder_until - $1 * interval '1 second',
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
        """,  # noqa: S608 - a condition that a test wrote
        seconds,
    )


async def make_due(pg: asyncpg.Connection, where: str = "true") -> None:
    """Bring sessions to the point where the next response mints a successor."""
    await pg.execute(f"update aiosess_sessions set settled_at = now() where {where}")  # noqa: S608 - the same
    await age(pg, 3600, where)
