"""Rows that somebody spoiled by hand: they fail for their own session, and everybody else goes on."""

import asyncio
import logging

import asyncpg
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from aiosess import SessionNotFound
from aiosess._postgres import statements
from aiosess.events import Event, Expired, Revoked
from tests.world.browser import Browser
from tests.world.cookies import session_id
from tests.world.site import Site
from tests.world.spoiling import UNREADABLE, spoil

PATIENCE = 60.0  # seconds
MENDED = (
    "retired = '[]', promoted_at = now(), authenticated_at = now(), created_at = now(), mint_until = null, data = '{}'"
)

spoiled = pytest.mark.parametrize("values", UNREADABLE.values(), ids=list(UNREADABLE))


@pytest.fixture
async def bob(site: Site, ada: Browser) -> Browser:
    """Sign somebody else in, later than Ada."""
    assert ada.token
    return await (await site.browser()).login("bob")


async def opened(browser: Browser) -> ClientWebSocketResponse:
    """Open a guarded WebSocket."""
    socket: ClientWebSocketResponse = await browser.client.ws_connect("/guarded/socket")
    assert await socket.receive_str(timeout=PATIENCE) == "guarded"
    return socket


async def answers(socket: ClientWebSocketResponse) -> None:
    """See that a WebSocket is open."""
    await socket.send_str("still here?")
    assert await socket.receive_str(timeout=PATIENCE) == "still here?"


async def code(socket: ClientWebSocketResponse) -> int:
    """Wait until a WebSocket is closed, and return the code."""
    message = await socket.receive(timeout=PATIENCE)
    assert message.type is WSMsgType.CLOSE, message
    return int(message.data)


@pytest.mark.threat("WSO-03")
@spoiled
async def test_guard_goes_on_for_everybody_else(
    site: Site, ada: Browser, bob: Browser, pg: asyncpg.Connection, values: str
) -> None:
    """A guarded session whose row cannot be read keeps its connection; ends of others and its own are noticed."""
    adas, bobs = await opened(ada), await opened(bob)
    await spoil(pg, values)
    await site.installation.open_connections.ask()
    await answers(adas)
    await pg.execute("delete from aiosess_sessions where user_id = 'bob'")
    await site.installation.open_connections.ask()
    assert await code(bobs) == 4001
    await answers(adas)
    await pg.execute("delete from aiosess_sessions")
    assert await code(adas) == 4001


@pytest.mark.threat("WSO-03")
@spoiled
async def test_requests_of_everybody_else_are_checked(
    ada: Browser, bob: Browser, pg: asyncpg.Connection, values: str
) -> None:
    """In one batch the unreadable row's request gets 503 and its cookie stays; the others know who is asking."""
    adas, bobs = ada.token, bob.token
    await spoil(pg, values)
    (mine, others) = await asyncio.gather(ada.get("/me"), bob.get("/me"))
    assert (mine.status, others.status) == (503, 200)
    assert (ada.token, bob.token) == (adas, bobs)
    await spoil(pg, MENDED)
    assert await ada.user() == "ada"


@pytest.mark.threat("WSO-03")
@spoiled
@pytest.mark.usefixtures("ada")
async def test_sweep_goes_on(
    site: Site, bob: Browser, pg: asyncpg.Connection, happened: list[Event], values: str
) -> None:
    """The unreadable row is swept with the others; only its own event is missing."""
    bobs = session_id(bob.token)
    await spoil(pg, values)
    await pg.execute("update aiosess_sessions set expires_at = now() - interval '1 minute'")
    assert await site.store.sweep() == 2
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 0
    assert [each.session_id for each in happened if isinstance(each, Expired)] == [bobs]


@pytest.mark.threat("WSO-03")
@spoiled
async def test_lists_leave_it_out(site: Site, ada: Browser, pg: asyncpg.Connection, values: str) -> None:
    """One unreadable row of a user hides none of the others in lists, on pages and in tallies."""
    other = await (await site.browser()).login("ada")
    await spoil(pg, values, f"id = '{session_id(ada.token)}'")
    listed = await site.store.list_for_user("ada")
    page = await site.store.page_for_user("ada", first_id=session_id(other.token))
    assert [each.id for each in listed] == [each.id for each in page.sessions] == [session_id(other.token)]
    assert page.tally.total == 2
    assert (await site.store.tally(["ada"]))["ada"] == page.tally


@pytest.mark.threat("WSO-03")
@pytest.mark.usefixtures("ada", "bob")
@pytest.mark.parametrize("values", ["created_at = '0044-03-15 BC'", "created_at = 'infinity'"])
async def test_tally_of_one_blinds_no_other(site: Site, pg: asyncpg.Connection, values: str) -> None:
    """The tally of many users is told though the only session of one began in no year that Python knows."""
    before = await site.store.tally(["bob"])
    assert before["bob"].total == 1
    await spoil(pg, values)
    tallies = await site.store.tally(["ada", "bob"])
    assert tallies["bob"] == before["bob"]
    assert tallies["ada"].total == 1


@pytest.mark.threat("WSO-03")
@pytest.mark.parametrize("data", ["1", "[1]", "null", '{"an int of too many digits": 1e5000}'])
async def test_data_that_is_no_object_hides_no_other_session(
    site: Site, ada: Browser, pg: asyncpg.Connection, data: str
) -> None:
    """A row whose data is not what aiosess writes is left out of the list."""
    other = await (await site.browser()).login("ada")
    await spoil(pg, f"data = '{data}'", f"id = '{session_id(ada.token)}'")
    assert [each.id for each in await site.store.list_for_user("ada")] == [session_id(other.token)]


@pytest.mark.threat("WSO-03")
@spoiled
async def test_it_can_be_revoked(
    site: Site, ada: Browser, pg: asyncpg.Connection, happened: list[Event], values: str
) -> None:
    """Ending all sessions of a user ends the unreadable one too, and its connections; so does ending it by its id."""
    other = await (await site.browser()).login("ada")
    sockets = [await opened(ada), await opened(other)]
    await spoil(pg, values, f"id = '{session_id(ada.token)}'")
    assert await site.store.revoke_user("ada") == 2
    assert [await code(socket) for socket in sockets] == [4001, 4001]
    assert [each.session_id for each in happened if isinstance(each, Revoked)] == [session_id(other.token)]
    assert await ada.user() is None
    await (await site.browser()).login("ada")
    await spoil(pg, values)
    (unreadable,) = await pg.fetch("select id from aiosess_sessions")
    await site.store.revoke(unreadable["id"])
    with pytest.raises(SessionNotFound):
        await site.store.revoke(unreadable["id"])


@pytest.mark.threat("WSO-03")
@spoiled
@pytest.mark.site(max_sessions_per_user=1)
async def test_sign_in_evicts_it(site: Site, ada: Browser, pg: asyncpg.Connection, values: str) -> None:
    """A user whose other session cannot be read signs in, and that session makes room."""
    socket = await opened(ada)
    await spoil(pg, values)
    other = await (await site.browser()).login("ada")
    assert await other.user() == "ada"
    assert await code(socket) == 4001


@pytest.mark.threat("WSO-03")
async def test_log_says_so_once_a_minute(
    site: Site, ada: Browser, pg: asyncpg.Connection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log names the kind of error, neither session nor value, and not with each query."""
    teller = statements._Unreadable()
    monkeypatch.setattr(statements, "tell_unreadable", teller.tell)
    assert ada.token
    await spoil(pg, """retired = '[["secret-value", null]]'""")
    with caplog.at_level(logging.ERROR, "aiosess"):
        for _ in range(3):
            assert await site.store.list_for_user("ada") == []
        (record,) = caplog.records
        assert "cannot be read (TypeError)" in record.message
        assert "secret-value" not in caplog.text
        assert str(session_id(ada.token)) not in caplog.text
        teller._tell_at -= statements.TELL_EVERY
        assert await site.store.list_for_user("ada") == []
        assert len(caplog.records) == 2
