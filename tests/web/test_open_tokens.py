"""Open connections that outlive their token: copies, rotate(), reauthenticated(), and the owner's long connection."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, web

import aiosess
from aiosess import SessionRevoked
from aiosess.events import Event, ReuseDetected
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.cookies import session_id
from tests.world.site import Site, visit
from tests.world.waiting import Gate, eventually
from tests.world.wire import COOKIE, Wire, request_bytes

PATIENCE = 60.0  # seconds
LATE = 601  # seconds: longer than late_window
REPLACED = (4002, "token replaced")
THIEF = {"User-Agent": "thief"}


async def forever() -> None:
    """Do nothing until cancelled."""
    await asyncio.Event().wait()


async def open_socket(site: Site, token: str | None, headers: dict[str, str] | None = None) -> ClientWebSocketResponse:
    """Open a guarded WebSocket with a token."""
    browser = await site.browser(token)
    socket: ClientWebSocketResponse = await browser.client.ws_connect("/guarded/socket", headers=headers)
    return socket


async def opened(site: Site, token: str | None, headers: dict[str, str] | None = None) -> ClientWebSocketResponse:
    """Open a guarded WebSocket whose block begins."""
    socket = await open_socket(site, token, headers)
    assert await socket.receive_str(timeout=PATIENCE) == "guarded"
    return socket


async def closed(socket: ClientWebSocketResponse) -> tuple[int, str | None]:
    """Wait until a WebSocket is closed, and return the code and the message."""
    message = await socket.receive(timeout=PATIENCE)
    assert message.type is WSMsgType.CLOSE, message
    return message.data, message.extra


async def answers(socket: ClientWebSocketResponse) -> None:
    """See that a WebSocket is open."""
    await socket.send_str("still here?")
    assert await socket.receive_str(timeout=PATIENCE) == "still here?"


async def rotate_once(site: Site, browser: Browser, pg: asyncpg.Connection) -> None:
    """Let a browser's token get a successor, and present it until it has settled."""
    before = browser.token
    await make_due(pg)
    for _ in range(2):  # mints, promotes
        assert await browser.user() == "ada"
    assert browser.token != before
    await age(pg, 61)
    assert await browser.user() == "ada"
    await site.installation.upkeep.flush()  # settles


@pytest.mark.threat("WSO-02")
async def test_copy_that_was_retired_is_cut(
    site: Site, ada: Browser, pg: asyncpg.Connection, happened: list[Event]
) -> None:
    """A socket opened with a copy that was replaced already ends late_window after that; the owner's goes on."""
    copy = ada.token
    owners = await opened(site, copy)
    await rotate_once(site, ada, pg)
    thiefs = await opened(site, copy, THIEF)
    await site.installation.open_connections.ask()
    await answers(thiefs)
    await age(pg, LATE)
    assert await closed(thiefs) == REPLACED
    await answers(owners)
    assert not [each for each in happened if isinstance(each, ReuseDetected)]
    assert (await site.present(copy or "")).user is None
    await eventually(lambda: [each for each in happened if isinstance(each, ReuseDetected)])


@pytest.mark.threat("WSO-02")
async def test_end_needs_no_change_of_the_row(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """When late_window is over the socket of a copy ends, though nothing has come back for the row since."""
    copy = ada.token
    await rotate_once(site, ada, pg)
    thiefs = await opened(site, copy, THIEF)
    await site.installation.open_connections.ask()
    clock = site.installation.database.clock
    clock.learn(clock.now() + timedelta(seconds=LATE))
    assert await closed(thiefs) == REPLACED


@pytest.mark.threat("WSO-02")
async def test_socket_of_a_copy_ends_after_rotations(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """A socket that was opened with the current token by somebody else ends when that token is long out of use."""
    thiefs = await opened(site, ada.token, THIEF)
    await rotate_once(site, ada, pg)
    await answers(thiefs)
    for _ in range(2):
        await rotate_once(site, ada, pg)
    assert await closed(thiefs) == REPLACED


@pytest.mark.threat("WSO-02")
async def test_owners_long_connection_goes_on(site: Site, ada: Browser, pg: asyncpg.Connection) -> None:
    """The owner's chat is open all day, through five rotations; then it ends with the session."""
    socket = await opened(site, ada.token)
    for _ in range(5):
        await rotate_once(site, ada, pg)
        await site.installation.open_connections.ask()
        await answers(socket)
    await site.store.revoke_user("ada")
    assert await closed(socket) == (4001, "session ended")


@pytest.mark.threat("WSO-02")
@pytest.mark.parametrize("way", ["rotate", "reauthenticated"])
@pytest.mark.parametrize("place", ["same process", "another process"])
async def test_replaced_secret_ends_connections(dsn: str, way: str, place: str) -> None:
    """What was opened with the old secret ends everywhere, in other tabs of the owner too, which come back."""
    async with visit(make_app(dsn)) as here, visit(make_app(dsn)) as there:
        ada = await (await here.browser()).login("ada")
        old = ada.token
        sockets = [await opened(here, old), await opened(here, old, THIEF)]
        wire = await Wire.open(here.port)
        await wire.send(request_bytes("/guarded/stream", f"Cookie: {COOKIE}={old}".encode()))
        await wire._reader.readuntil(b"guarded\r\n")
        site = here if place == "same process" else there
        other = await site.browser(old)
        assert (await other.post(f"/do/{way}")).status == 200
        assert [await closed(socket) for socket in sockets] == [REPLACED] * 2
        async with asyncio.timeout(PATIENCE):
            assert await wire.rest() == b""
        await wire.close()
        await answers(await opened(here, other.token))
        assert here.installation.open_connections._list.sessions.keys() == {session_id(old).int}


@pytest.mark.threat("WSO-02")
async def test_thief_is_out_at_once(site: Site, ada: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """After rotate() the owner's pages have a second until the new cookie has come; another client has none."""

    async def fail(*_arguments: object) -> None:
        raise aiosess.StoreUnavailable

    monkeypatch.setattr(site.installation.rows, "changed", fail)  # nothing is learned by asking
    thiefs, owners = await opened(site, ada.token, THIEF), await opened(site, ada.token)
    await ada.run(lambda sessions: sessions.rotate())
    assert await closed(thiefs) == REPLACED
    await answers(owners)


@pytest.mark.threat("WSO-02")
@pytest.mark.parametrize("headers", [None, THIEF])
@pytest.mark.parametrize("is_guarded", [False, True], ids=["first block", "second block"])
async def test_request_that_rotate_overtook_gets_no_socket(
    dsn: str,
    pg: asyncpg.Connection,
    headers: dict[str, str] | None,
    is_guarded: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """A request that was checked before rotate() and guards after it: its block ends, or does not even begin."""

    async def late(request: web.Request) -> web.StreamResponse:
        await request.app[GATE].wait()
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async with request["sessions"].guard(websocket):
            await websocket.send_str("guarded")
            await websocket.receive()
        return websocket

    GATE = web.AppKey("late", Gate)  # noqa: N806 - a key, as elsewhere
    app = make_app(dsn, web.get("/late", late))
    app[GATE] = Gate()
    async with visit(app) as site:
        ada = await (await site.browser()).login("ada")
        other = await site.browser(ada.token)
        opening = asyncio.create_task(other.client.ws_connect("/late", headers=headers))
        await app[GATE].entered.wait()
        await ada.run(lambda sessions: sessions.rotate())
        if is_guarded:
            await opened(site, ada.token)
            await site.installation.open_connections.ask()
        app[GATE].opened.set()
        socket = await opening
        message = await socket.receive(timeout=PATIENCE)
        if message.type is WSMsgType.TEXT:
            message = await socket.receive(timeout=PATIENCE)
        assert (message.data, message.extra) == REPLACED
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 1


@pytest.mark.threat("WSO-02")
async def test_request_that_rotates_keeps_its_blocks(dsn: str) -> None:
    """A handler that rotates and then guards, or rotates inside the block, has the new token there."""

    async def work(request: web.Request) -> web.Response:
        sessions = request["sessions"]
        await sessions.rotate()
        async with sessions.guard():
            for _ in range(2):
                await sessions.reauthenticated()
                site.installation.database.clock.learn(site.store.clock.now() + timedelta(seconds=5))
                await site.installation.open_connections.ask()
                await asyncio.sleep(0)
            return web.Response(text="done")

    async with visit(make_app(dsn, web.post("/work", work))) as site:
        ada = await (await site.browser()).login("ada")
        assert await (await ada.post("/work")).text() == "done"
        assert await ada.user() == "ada"


@pytest.mark.threat("WSO-02")
async def test_handler_is_told_why(dsn: str) -> None:
    """SessionRevoked leaves a block whose token was replaced, and says so."""
    told: list[str] = []

    async def poll(request: web.Request) -> web.Response:
        try:
            async with request["sessions"].guard():
                inside.set()
                await forever()
        except SessionRevoked as error:
            told.append(str(error))
        return web.Response()

    inside = asyncio.Event()
    async with visit(make_app(dsn, web.get("/poll", poll))) as site:
        ada = await (await site.browser()).login("ada")
        other = await site.browser(ada.token)
        asking = asyncio.create_task(other.get("/poll"))
        await inside.wait()
        await ada.run(lambda sessions: sessions.rotate())
        assert (await asking).status == 200
    assert told == ["the token that opened the connection was replaced"]


@pytest.mark.threat("WSO-02")
async def test_older_answers_end_nothing(dsn: str, pg: asyncpg.Connection) -> None:
    """A query that was under way while a request rotated and opened a socket says nothing about the new token."""
    async with visit(make_app(dsn)) as site:
        guards = site.installation.open_connections
        ada = await (await site.browser()).login("ada")
        await opened(site, ada.token)
        await pg.execute("update aiosess_sessions set device_name = 'changed'")
        asking = asyncio.create_task(_slowly(site, guards.ask))
        await site.gate.entered.wait()
        await ada.run(lambda sessions: sessions.rotate())
        socket = await opened(site, ada.token, THIEF)
        site.gate.opened.set()
        await asking
        await answers(socket)
        await guards.ask()
        await answers(socket)


@pytest.mark.threat("WSO-02")
async def test_older_write_ends_nothing(dsn: str, pg: asyncpg.Connection) -> None:
    """A write whose answer comes when a newer row was seen says nothing about the token that this row has."""
    async with visit(make_app(dsn)) as here, visit(make_app(dsn)) as there:
        ada = await (await here.browser()).login("ada")
        old, other = await opened(here, ada.token), await there.browser(ada.token)
        await pg.execute("update aiosess_sessions set device_name = 'changed'")
        outdated = await here.installation.rows.load(session_id(ada.token))
        assert outdated is not None
        await other.run(lambda sessions: sessions.rotate())
        socket = await opened(here, other.token)
        long_ago = outdated.promoted_at - timedelta(hours=1)
        here.installation.signals.changed.send(replace(outdated, promoted_at=long_ago))
        await answers(socket)
        assert await closed(old) == REPLACED
        await answers(socket)


@pytest.mark.threat("WSO-02")
async def test_block_of_a_dead_token_does_not_begin(dsn: str) -> None:
    """A request that learned by a write that its token was replaced gets no block at all."""
    gate, begun = Gate(), []

    async def late(request: web.Request) -> web.Response:
        await gate.wait()
        await request["sessions"].set("key", "value")
        async with request["sessions"].guard():
            begun.append(request)
        return web.Response()

    async with visit(make_app(dsn, web.get("/late", late))) as site:
        ada = await (await site.browser()).login("ada")
        thief = await site.browser(ada.token)
        asking = asyncio.create_task(thief.get("/late", headers=THIEF))
        await gate.entered.wait()
        await ada.run(lambda sessions: sessions.rotate())
        gate.opened.set()
        assert (await asking).status == 401
    assert begun == []


async def _slowly(site: Site, ask: object) -> None:
    """Ask, and take the answer in when the gate is open."""
    rows = site.installation.rows
    changed = rows.changed

    async def slow(ids: list[object], revisions: list[int]) -> object:
        answer = await changed(ids, revisions)  # type: ignore[arg-type]  # as they are
        await site.gate.wait()
        return answer

    rows.changed = slow  # type: ignore[method-assign,assignment]  # the answer is held back
    try:
        await ask()  # type: ignore[operator]  # as it is
    finally:
        rows.changed = changed  # type: ignore[method-assign]  # as it was


@pytest.mark.threat("WSO-02")
async def test_devices_page_stream_ends_with_its_token(dsn: str, pg: asyncpg.Connection) -> None:
    """The devices page's own stream ends when it was opened with a copy; the owner's goes on until the session ends."""
    async with visit(make_app(dsn, page={})) as site:
        ada = await (await site.browser()).login("ada")
        copy = ada.token
        streams = []
        for headers in (THIEF, {}):
            browser = await site.browser(copy)
            stream = await browser.client.get("/account/devices/events", headers=headers)
            assert await stream.content.readuntil(b"\n\n")
            streams.append(stream)
        await rotate_once(site, ada, pg)
        await age(pg, LATE)
        async with asyncio.timeout(PATIENCE):
            assert b"event: ended" in await streams[0].content.read()
        await site.store.revoke_user("ada")
        async with asyncio.timeout(PATIENCE):
            assert b"event: ended" in await streams[1].content.read()
