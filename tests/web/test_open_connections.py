"""Open connections that end with their session: how soon, on which process, at what cost, and what is left behind."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic
from uuid import UUID

import asyncpg
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, web
from aiohttp.test_utils import make_mocked_request

import aiosess
from aiosess import SessionRevoked
from aiosess._postgres.rows import Changed
from aiosess._postgres.statements import statement
from aiosess._row import Row
from aiosess._token.keys import Keyring
from aiosess._web import blocks, open_connections
from aiosess._web.blocks import Watched
from aiosess._web.open_connections import ASK_EVERY, OpenConnections
from aiosess._web.visit import Visit
from tests.world.ageing import age
from tests.world.app import SECRET, make_app
from tests.world.browser import Browser
from tests.world.cookies import session_id
from tests.world.databases import logged_pool
from tests.world.relay import relayed
from tests.world.serve import served
from tests.world.site import Site, visit
from tests.world.waiting import eventually
from tests.world.wire import COOKIE, Wire, request_bytes

SOON = 12.0  # seconds: for a busy machine; how soon it is on a quiet one is what ASK_EVERY says
END_MARK = b"0\r\n\r\n"
UPGRADE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
HUNDRED = 100
BRIEF = timedelta(seconds=0.5)


async def open_socket(browser: Browser, path: str = "/guarded/socket") -> ClientWebSocketResponse:
    """Open a guarded WebSocket."""
    socket: ClientWebSocketResponse = await browser.client.ws_connect(path)
    assert await socket.receive_str(timeout=SOON) == "guarded"
    return socket


async def open_stream(port: int, token: str | None, target: str = "/guarded/stream") -> Wire:
    """Open a guarded stream on a connection of its own."""
    wire = await Wire.open(port)
    await wire.send(request_bytes(target, f"Cookie: {COOKIE}={token}".encode()))
    head = await wire._reader.readuntil(b"guarded\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    return wire


async def closed(socket: ClientWebSocketResponse) -> tuple[int, str | None]:
    """Wait until a WebSocket is closed, and return the code and the message."""
    message = await socket.receive(timeout=SOON * 5)
    assert message.type is WSMsgType.CLOSE, message
    return message.data, message.extra


async def rest_of(wire: Wire) -> bytes:
    """Wait until a stream ends, and return what came until then."""
    async with asyncio.timeout(SOON * 5):
        rest = await wire.rest()
    await wire.close()
    return rest


async def is_empty(site: Site) -> bool:
    """Say whether nothing is guarded and nothing is being closed."""
    return site.installation.open_connections.is_empty


def watchlist(site: Site) -> dict[int, Watched]:
    """Return the guarded sessions."""
    return site.installation.open_connections._list.sessions


async def row_of(site: Site, browser: Browser) -> Row:
    """Return the row of a browser's session."""
    row = await site.installation.rows.load(session_id(browser.token))
    assert row is not None
    return row


@asynccontextmanager
async def guarded(
    site: Site, browser: Browser, response: web.StreamResponse | None = None, *, row: Row | None = None
) -> AsyncIterator[UUID]:
    """Guard the session of a browser as one of its requests would; give its id."""
    opener = make_mocked_request("GET", "/")
    request = Visit(opener)
    token = Keyring(SECRET).verify(browser.token or "", "aiosess")
    request.accept(await row_of(site, browser) if row is None else row, token)
    async with site.installation.open_connections.guard(request, response):
        yield token.session_id


async def forever() -> None:
    """Do nothing until cancelled; whoever is not cancelled is an error."""
    async with asyncio.timeout(SOON * 5):
        await asyncio.Event().wait()


# The session ends


async def _revoke(here: Site, browser: Browser) -> None:
    await here.store.revoke(session_id(browser.token))


async def _revoke_user(here: Site, _browser: Browser) -> None:
    await here.store.revoke_user("ada")


async def _log_out(here: Site, browser: Browser) -> None:
    await (await here.browser(browser.token)).run(lambda sessions: sessions.logout())


async def _evict(here: Site, _browser: Browser) -> None:
    await (await here.browser()).login("ada")


WAYS: list[Callable[[Site, Browser], Awaitable[None]]] = [_revoke, _revoke_user, _log_out, _evict]


@pytest.mark.threat("SES-14")
@pytest.mark.parametrize("place", ["same process", "another process"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
async def test_connections_end_with_their_session(
    dsn: str, way: Callable[[Site, Browser], Awaitable[None]], place: str
) -> None:
    """Revoked, logged out, evicted: the WebSocket is closed with 4001 and the stream ends, wherever it was done."""
    one_each = {"max_sessions_per_user": 1}
    async with visit(make_app(dsn, **one_each)) as here, visit(make_app(dsn, **one_each)) as there:
        browser = await (await here.browser()).login("ada")
        socket, wire = await open_socket(browser), await open_stream(here.port, browser.token)
        await way(here if place == "same process" else there, browser)
        assert await closed(socket) == (4001, "session ended")
        assert END_MARK not in await rest_of(wire)
        await eventually(lambda: is_empty(here))


@pytest.mark.threat("SES-14")
async def test_logout_on_one_process_ends_connections_on_another(dsn: str) -> None:
    """Of two real processes, one holds the connections open and the other one ends the session: out within seconds."""
    async with served(dsn) as (_, one), served(dsn) as (_, two), visit(make_app(dsn)) as site:
        browser = await (await site.browser()).login("ada")
        socket = await browser.client.session.ws_connect(
            f"http://127.0.0.1:{one}/guarded/socket", headers={"Cookie": f"{COOKIE}={browser.token}"}
        )
        assert await socket.receive_str() == "guarded"
        wire = await open_stream(one, browser.token)
        other = await Wire.open(two)
        cookie = f"Cookie: {COOKIE}={browser.token}".encode()
        assert (await other.ask(request_bytes("/do/logout", cookie, method="POST"))).status == 200
        assert await closed(socket) == (4001, "session ended")
        assert await rest_of(wire) == b""
        await other.close()


@pytest.mark.threat("SES-14")
async def test_expired_session_ends_its_connections(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """Nobody ends a session whose time is up, and its connections end all the same."""
    socket, wire = await open_socket(ada), await open_stream(site.port, ada.token)
    await age(pg, 31 * 86400)
    assert await closed(socket) == (4001, "session ended")
    assert await rest_of(wire) == b""


@pytest.mark.threat("SES-14")
async def test_end_in_this_process_is_noticed_without_asking(site: Site, ada: Browser) -> None:
    """A session that the process itself ends is out before the next query: its blocks are told at once."""

    async def wait() -> None:
        async with guarded(site, ada) as session_id:
            await site.store.revoke(session_id)
            for _ in range(3):
                await asyncio.sleep(0)
            raise AssertionError

    with pytest.raises(SessionRevoked):
        await wait()


@pytest.mark.threat("SES-14")
async def test_end_that_a_request_notices_is_noticed(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """A session that was ended elsewhere is out as soon as one of its requests here finds that."""

    async def wait() -> None:
        async with guarded(site, ada):
            await pg.execute("delete from aiosess_sessions")
            assert await site.installation.checker.check(Keyring(SECRET).verify(ada.token, "aiosess")) is None
            for _ in range(3):
                await asyncio.sleep(0)
            raise AssertionError

    with pytest.raises(SessionRevoked):
        await wait()


@pytest.mark.threat("SES-14")
async def test_other_sessions_go_on(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """A session that lives, and one whose row has changed, keep their connections."""
    bob = await (await site.browser()).login("bob")
    sockets = [await open_socket(browser) for browser in (ada, bob)]
    await bob.run(lambda sessions: sessions.set("key", 1))
    await pg.execute("update aiosess_sessions set device_name = 'changed' where user_id = 'bob'")
    await site.store.revoke_user("ada")
    assert await closed(sockets[0]) == (4001, "session ended")
    await site.installation.open_connections.ask()
    await sockets[1].send_str("still here?")
    assert await sockets[1].receive_str(timeout=SOON) == "still here?"


@pytest.mark.threat("SES-14")
async def test_every_connection_of_a_session_ends(site: Site, ada: Browser) -> None:
    """Of several tabs that were open one was closed before; all others end."""
    sockets = [await open_socket(ada) for _ in range(3)]
    await sockets.pop().close()
    assert len(watchlist(site)) == 1
    await site.store.revoke_user("ada")
    assert [await closed(socket) for socket in sockets] == [(4001, "session ended")] * 2


# What leaves the block


@pytest.mark.threat("SES-14")
async def test_guard_without_response_raises(dsn: str) -> None:
    """A handler that holds nothing open is cancelled inside the block, and SessionRevoked leaves it: 401."""
    inside = asyncio.Event()

    async def poll(request: web.Request) -> web.Response:
        async with request["sessions"].guard():
            inside.set()
            await forever()
        raise AssertionError

    async with visit(make_app(dsn, web.get("/poll", poll))) as site:
        browser = await (await site.browser()).login("ada")
        asking = asyncio.create_task(browser.get("/poll"))
        await inside.wait()
        await site.store.revoke_user("ada")
        async with asyncio.timeout(SOON):
            assert (await asking).status == 401


@pytest.mark.threat("SES-14")
async def test_stream_may_say_a_last_word(dsn: str) -> None:
    """A handler that catches SessionRevoked goes on as though it had never been cancelled, and ends its stream."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            async with request["sessions"].guard(response):
                await response.write(b"guarded")
                await forever()
        except SessionRevoked:
            task = asyncio.current_task()
            assert task is not None
            await asyncio.sleep(0)
            await response.write(b"bye %d" % task.cancelling())
        return response

    async with visit(make_app(dsn, web.get("/last", stream))) as site:
        browser = await (await site.browser()).login("ada")
        wire = await open_stream(site.port, browser.token, "/last")
        await site.store.revoke_user("ada")
        async with asyncio.timeout(SOON):
            assert await wire._reader.readuntil(END_MARK) == b"5\r\nbye 0\r\n" + END_MARK
        await wire.close()


async def test_cancellation_from_outside_stays_one(site: Site, ada: Browser) -> None:
    """A task that somebody else cancels inside the block is cancelled, not told that its session has ended."""
    inside = asyncio.Event()

    async def wait() -> None:
        async with guarded(site, ada):
            inside.set()
            await forever()

    task = asyncio.create_task(wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await is_empty(site)


@pytest.mark.parametrize("kind", [TimeoutError, ValueError])
async def test_errors_of_the_block_pass(site: Site, ada: Browser, kind: type[Exception]) -> None:
    """What a handler raises by itself leaves the block as it is, a TimeoutError too."""
    error = kind("mine")
    with pytest.raises(kind, match="mine"):
        async with guarded(site, ada):
            raise error
    assert await is_empty(site)


async def test_block_that_ends_with_its_session_just_ends(site: Site, ada: Browser) -> None:
    """A handler that ends the session itself and leaves is not cancelled afterwards."""
    async with guarded(site, ada) as session_id:
        site.installation.signals.ended.send(session_id)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await is_empty(site)


async def test_block_that_enters_after_the_end_is_ended(site: Site, ada: Browser) -> None:
    """A session that ended while its handler was on its way to the block: the next query says so, to each block."""
    guards, row, inside = site.installation.open_connections, await row_of(site, ada), asyncio.Event()

    async def linger() -> None:
        with suppress(SessionRevoked):
            async with guarded(site, ada, row=row):
                with suppress(asyncio.CancelledError):
                    inside.set()
                    await forever()
                await forever()

    old = asyncio.create_task(linger())
    await inside.wait()
    await site.store.revoke(row.id)

    async def enter() -> None:
        async with guarded(site, ada, row=row):
            old.cancel()
            await asyncio.wait([old])
            assert len(watchlist(site)) == 1
            await guards.ask()
            await forever()

    with pytest.raises(SessionRevoked):
        await enter()


async def test_nobody_has_nothing_to_guard(site: Site) -> None:
    """Without a session there is nothing that could end: 401."""
    assert (await (await site.wire()).ask(request_bytes("/me"))).status == 200
    browser = await site.browser()
    with pytest.raises(aiosess.NotAuthenticated):
        await browser.run(lambda sessions: sessions.guard().__aenter__())
    assert browser.reply is not None
    assert browser.reply.status == 401


async def test_unprepared_websocket_is_an_error(site: Site, ada: Browser) -> None:
    """A WebSocket that is not open cannot be closed: that is said at once."""
    with pytest.raises(RuntimeError, match="prepare"):
        async with guarded(site, ada, web.WebSocketResponse()):
            pass
    assert await is_empty(site)


async def test_error_after_the_headers_adds_no_second_response(dsn: str) -> None:
    """An error of the session in the middle of a stream cuts it: no other response is written into its body."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"guarded")
        raise aiosess.NotAuthenticated

    async with visit(make_app(dsn, web.get("/failing", stream))) as site:
        assert await rest_of(await open_stream(site.port, None, "/failing")) == b""


# WebSockets whose ends do not behave


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nobody longer than a moment."""
    monkeypatch.setattr(blocks, "LEAVE_WITHIN", 0.05)


@pytest.mark.threat("SES-14")
@pytest.mark.usefixtures("impatient")
async def test_client_that_does_not_answer_is_not_waited_for(site: Site, ada: Browser) -> None:
    """A client that reads the close and says nothing loses its connection."""
    wire = await site.wire()
    await wire.send(request_bytes("/guarded/socket", f"Cookie: {COOKIE}={ada.token}".encode(), *UPGRADE))
    assert (await wire.read()).status == 101
    assert await wire._reader.readexactly(9) == b"\x81\x07guarded"
    await site.store.revoke_user("ada")
    async with asyncio.timeout(SOON):
        assert await wire.rest() == b"\x88\x0f\x0f\xa1session ended"
    await eventually(lambda: is_empty(site))


@pytest.mark.threat("SES-14")
@pytest.mark.usefixtures("impatient")
async def test_handler_that_does_not_listen_is_cancelled(dsn: str) -> None:
    """A handler that only sends, and has nothing to send, learns of the end a little later."""
    ended = asyncio.Event()

    async def push(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        try:
            async with request["sessions"].guard(websocket):
                await websocket.send_str("guarded")
                await forever()
        except SessionRevoked:
            ended.set()
            raise
        return websocket

    async with visit(make_app(dsn, web.get("/push", push)), cancels=False) as site:
        browser = await (await site.browser()).login("ada")
        socket = await open_socket(browser, "/push")
        await site.store.revoke_user("ada")
        assert await closed(socket) == (4001, "session ended")
        async with asyncio.timeout(SOON):
            await ended.wait()
        await eventually(lambda: is_empty(site))


@pytest.mark.threat("SES-14")
@pytest.mark.usefixtures("impatient")
async def test_client_that_does_not_read_is_not_waited_for(dsn: str) -> None:
    """A client that lets the server's buffer fill up holds up neither the close nor the handler."""
    transports: list[asyncio.Transport] = []
    sending: list[asyncio.Task[None]] = []

    async def flood(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        assert request.transport is not None
        transports.append(request.transport)
        async with request["sessions"].guard(websocket):
            sending.append(asyncio.create_task(websocket.send_bytes(bytes(2**25))))
            async for _ in websocket:
                pass
        return websocket

    async def is_stuck() -> bool:
        return bool(transports) and transports[0].get_write_buffer_size() > 2**24

    async with visit(make_app(dsn, web.get("/flood", flood)), cancels=False) as site:
        browser, wire = await (await site.browser()).login("ada"), await site.wire()
        await wire.send(request_bytes("/flood", f"Cookie: {COOKIE}={browser.token}".encode(), *UPGRADE))
        await eventually(is_stuck)
        await site.store.revoke_user("ada")
        await eventually(lambda: is_empty(site), within=SOON)
        await asyncio.gather(*sending, return_exceptions=True)


@pytest.mark.parametrize("cancels", [True, False])
async def test_client_that_goes_away_leaves_nothing_behind(dsn: str, cancels: bool) -> None:  # noqa: FBT001 - both ways of aiohttp
    """A WebSocket that is aborted, and a stream whose client has gone, are guarded no longer."""

    async def beat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async with request["sessions"].guard(response):
            while True:
                await response.write(b"guarded")
                await asyncio.sleep(0)

    async with visit(make_app(dsn, web.get("/beat", beat)), cancels=cancels) as site:
        browser = await (await site.browser()).login("ada")
        wire = await site.wire()
        await wire.send(request_bytes("/guarded/socket", f"Cookie: {COOKIE}={browser.token}".encode(), *UPGRADE))
        await wire._reader.readuntil(b"guarded")
        stream = await open_stream(site.port, browser.token, "/beat")
        assert len(watchlist(site)) == 1
        for each in (wire, stream):
            each._writer.transport.abort()
        await eventually(lambda: is_empty(site))
        assert await browser.user() == "ada"


async def test_block_that_is_left_leaves_nothing_behind(site: Site, ada: Browser) -> None:
    """A WebSocket that its client closes is guarded no longer."""
    socket = await open_socket(ada)
    await socket.close()
    await eventually(lambda: is_empty(site))


# What it costs, and what an outage does


@pytest.mark.threat("SES-14")
async def test_many_connections_cost_one_query_a_second(dsn: str) -> None:
    """A hundred guarded connections are asked about in one statement, about once a second; without any none is sent."""
    async with logged_pool(dsn) as (pool, statements), visit(make_app(dsn, pool=pool)) as site:
        check = statement("check", "public")
        browsers = [await (await site.browser()).login(f"user{number}") for number in range(HUNDRED)]
        statements.clear()
        await site.installation.open_connections.ask()
        assert statements == []
        for browser in browsers:
            await open_socket(browser)

        async def asked(times: int) -> bool:
            return statements.count(check) >= times

        statements.clear()
        begun_at = monotonic()
        await eventually(lambda: asked(4))
        assert monotonic() - begun_at > 3 * ASK_EVERY
        first_use = statement("touch", "public")  # the browsers have just signed in
        assert {text for text in statements if "aiosess" in text} - {first_use} == {check}
        assert len(watchlist(site)) == HUNDRED


@pytest.mark.threat("WSO-03")
async def test_many_sessions_are_asked_about_in_chunks(
    dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No question is longer than a chunk, and an end is noticed in the first one as in the last."""
    assert open_connections.ASK_AT_ONCE <= 1000  # what was measured to stop the loop for less than 50 ms
    monkeypatch.setattr(open_connections, "ASK_AT_ONCE", 2)
    async with visit(make_app(dsn)) as site:
        browsers = [await (await site.browser()).login(f"user{number}") for number in range(5)]
        sizes: list[int] = []
        rows = site.installation.rows
        changed = rows.changed

        async def count(ids: list[UUID], revisions: list[int]) -> Changed:
            sizes.append(len(ids))
            return await changed(ids, revisions)

        async with AsyncExitStack() as blocks:
            for browser in browsers:
                await blocks.enter_async_context(guarded(site, browser))
            monkeypatch.setattr(rows, "changed", count)
            await site.installation.open_connections.ask()
            assert set(sizes) == {1, 2}
        sockets = [await open_socket(browser) for browser in browsers]
        await pg.execute("delete from aiosess_sessions where user_id in ('user0', 'user4')")
        assert [await closed(sockets[number]) for number in (0, 4)] == [(4001, "session ended")] * 2
        assert len(watchlist(site)) == 3


async def test_many_ends_take_several_turns(dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """When many sessions of one answer have ended, others run in between, and all blocks end."""
    monkeypatch.setattr(open_connections, "END_AT_ONCE", 2)
    async with visit(make_app(dsn)) as site:
        browsers = [await (await site.browser()).login(f"user{number}") for number in range(5)]
        sockets = [await open_socket(browser) for browser in browsers]
        ended: list[int] = []
        end = site.installation.open_connections._list.end

        def note(session_id: UUID) -> int:
            asyncio.get_running_loop().call_soon(lambda: ended.append(-1))  # when others have run
            ended.append(1)
            return end(session_id)

        monkeypatch.setattr(site.installation.open_connections._list, "end", note)
        await pg.execute("delete from aiosess_sessions")
        assert [await closed(socket) for socket in sockets] == [(4001, "session ended")] * 5
        assert ended == [1, 1, -1, -1, 1, 1, -1, -1, 1, -1]


async def test_row_that_changed_is_read_once(dsn: str) -> None:
    """The row of a session that was touched comes back with the next query, and not with those after it."""
    async with visit(make_app(dsn)) as site:
        guards, browser = site.installation.open_connections, await (await site.browser()).login("ada")
        async with guarded(site, browser):
            await browser.run(lambda sessions: sessions.set("key", 1))
            (watched,) = watchlist(site).values()
            await guards.ask()
            assert watched.revision == (await row_of(site, browser)).revision
            assert await site.installation.rows.changed([watched.id], [watched.revision]) == {}


async def test_answer_about_a_block_that_was_left_is_dropped(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """A session that nobody guards any more when the answer comes stays unguarded."""
    guards = site.installation.open_connections
    async with guarded(site, ada):
        await pg.execute("update aiosess_sessions set device_name = 'changed'")
        asking = asyncio.create_task(guards.ask())
        await asyncio.sleep(0)
    await asking
    assert await is_empty(site)


@pytest.mark.threat("SES-14")
@pytest.mark.threat("DB-05")
async def test_outage_ends_no_connection(dsn: str, pg: asyncpg.Connection) -> None:
    """While PostgreSQL does not answer all connections stay; when it does again, those of ended sessions end."""
    async with relayed(dsn) as relay, visit(make_app(relay.dsn, store_timeout=BRIEF)) as site:
        ada, bob = [await (await site.browser()).login(user) for user in ("ada", "bob")]
        sockets = [await open_socket(browser) for browser in (ada, bob)]
        wire = await open_stream(site.port, ada.token)
        relay.swallows = True
        relay.cut()
        await pg.execute("delete from aiosess_sessions where user_id = 'ada'")
        for _ in range(3):
            await site.installation.open_connections.ask()
        for socket in sockets:
            await socket.send_str("still here?")
            assert await socket.receive_str(timeout=SOON) == "still here?"
        assert not wire._reader.at_eof()
        relay.swallows = False
        relay.cut()
        assert await closed(sockets[0]) == (4001, "session ended")
        assert await rest_of(wire) == b""
        await sockets[1].send_str("still here?")
        assert await sockets[1].receive_str(timeout=SOON) == "still here?"


# The application stops


@asynccontextmanager
async def watching(site: Site, browser: Browser) -> AsyncIterator[tuple[ClientWebSocketResponse, Wire]]:
    """Hold a WebSocket and a stream open."""
    wire = await open_stream(site.port, browser.token)
    yield await open_socket(browser), wire
    await wire.close()


@pytest.mark.threat("DB-15")
async def test_stopping_application_sends_connections_away(site: Site, ada: Browser) -> None:
    """A WebSocket is closed with 1001 and a stream ends without its end mark; nobody is waited for."""
    async with watching(site, ada) as (socket, wire):
        stopping = asyncio.create_task(site.server.close())
        assert await closed(socket) == (1001, "going away")
        assert await rest_of(wire) == b""
        async with asyncio.timeout(SOON * 5):
            await stopping
        assert await is_empty(site)


@pytest.mark.threat("DB-15")
async def test_sigterm_sends_connections_away(dsn: str) -> None:
    """A real process with open connections ends at once when it is told to, with exit status 0."""
    async with served(dsn) as (process, port), visit(make_app(dsn)) as site:
        browser = await (await site.browser()).login("ada")
        socket = await browser.client.session.ws_connect(
            f"http://127.0.0.1:{port}/guarded/socket", headers={"Cookie": f"{COOKIE}={browser.token}"}
        )
        assert await socket.receive_str() == "guarded"
        wire = await open_stream(port, browser.token)
        process.send_signal(signal.SIGTERM)
        assert await closed(socket) == (1001, "going away")
        assert await rest_of(wire) == b""
        async with asyncio.timeout(SOON * 5):
            assert await process.wait() == 0


@pytest.mark.threat("DB-15")
@pytest.mark.parametrize(("ends", "error"), [(False, asyncio.CancelledError), (True, SessionRevoked)])
async def test_block_that_enters_while_stopping_leaves(
    site: Site,
    ada: Browser,
    ends: bool,  # noqa: FBT001 - a column of the table
    error: type[BaseException],
) -> None:
    """A connection that comes in at the last moment is sent away too, and once only when its session ends as well."""
    guards = site.installation.open_connections
    await guards.stop(site.server.app)

    async def enter() -> None:
        async with guarded(site, ada, web.StreamResponse()) as session_id:
            try:
                await forever()
            finally:
                if ends:
                    site.installation.signals.ended.send(session_id)

    with pytest.raises(error):
        await enter()


@pytest.mark.threat("DB-15")
async def test_stopping_waits_for_what_holds_nothing_open(site: Site, ada: Browser) -> None:
    """A block without a response is an ordinary handler's: it may finish."""
    guards: OpenConnections = site.installation.open_connections
    async with guarded(site, ada):
        await guards.stop(site.server.app)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await is_empty(site)
