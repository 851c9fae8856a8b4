"""Clients that go away while a handler works: nothing is left half done."""

import asyncio

import asyncpg
import pytest
from aiohttp import web

from aiosess import events
from aiosess._postgres.carried_through import _under_way
from tests.faults.probes import BRIEF, is_in_flight
from tests.world.ageing import make_due
from tests.world.app import make_app
from tests.world.relay import Relay
from tests.world.site import Site, visit
from tests.world.waiting import Gate, eventually, somebody_waits
from tests.world.wire import COOKIE, request_bytes

# Connections and clients


@pytest.mark.threat("DB-13")
async def test_handlers_hold_no_connection(dsn: str) -> None:
    """With one connection and a handler that waits, others are served; then the handler goes on."""
    gate = Gate()

    async def handle(request: web.Request) -> web.Response:
        user = request["sessions"].user_id
        await gate.wait()
        await request["sessions"].set("waited", True)  # noqa: FBT003 - a value
        return web.json_response({"user": user})

    async with visit(make_app(dsn, web.post("/gate", handle), pool_size=1, store_timeout=BRIEF)) as site:
        token = await site.login()
        slow = asyncio.create_task(site.present(token, "/gate", method="POST"))
        await gate.entered.wait()
        for _ in range(5):
            assert (await site.present(token)).user == "ada"
        assert await site.login("bob")
        gate.opened.set()
        assert (await slow).user == "ada"


ABORTS = {
    "check": ("GET", "/me", None),
    "login": ("POST", "/login/ada", "select from aiosess_logins for update"),
    "promotion": ("GET", "/me", "select from aiosess_sessions for update"),
    "mint": ("GET", "/me", "select from aiosess_sessions for update"),
    "rotation": ("POST", "/do/rotate", "select from aiosess_sessions for update"),
    "logout": ("POST", "/do/logout", "select from aiosess_sessions for update"),
}


@pytest.mark.threat("DB-14")
@pytest.mark.parametrize("cancels", [False, True])
@pytest.mark.parametrize("moment", ABORTS)
async def test_client_that_goes_away_leaves_nothing_half_done(
    relay: Relay, pg: asyncpg.Connection, moment: str, *, cancels: bool
) -> None:
    """A client that aborts while the database is asked leaves the pool usable, and the write whole or not made."""
    method, target, lock = ABORTS[moment]
    async with visit(make_app(relay.dsn, pool_size=1), cancels=cancels) as site:
        token = await site.login()
        if moment in {"promotion", "mint"}:
            await make_due(pg)
        if moment == "promotion":
            successor = (await site.present(token)).token
            assert successor
            token = successor
        before = await pg.fetch("select * from aiosess_sessions")
        wire = await site.wire()
        request = request_bytes(target, f"Cookie: {COOKIE}={token}".encode(), method=method)
        if lock is None:
            relay.gate.clear()
            await wire.send(request)
            await eventually(lambda: is_in_flight(site))
            wire._writer.transport.abort()
            relay.gate.set()
        else:
            async with pg.transaction():
                await pg.execute(lock)
                await wire.send(request)
                await somebody_waits(pg)
                wire._writer.transport.abort()
                await eventually(lambda: _is_noticed(site))
        await eventually(lambda: _is_quiet(pg))
        assert await site.login("bob")
        rows = await pg.fetch("select * from aiosess_sessions where user_id = 'ada'")
        if moment == "logout":
            assert rows == []
        elif moment == "login":
            assert len(rows) == 1
            assert rows[0]["id"] != before[0]["id"]
        else:
            assert [row["id"] for row in rows] == [before[0]["id"]]
        if moment in {"check", "promotion", "mint"}:
            assert (await site.present(token)).user == "ada"


@pytest.mark.threat("DB-14")
async def test_login_of_a_client_that_goes_away_is_told(dsn: str, pg: asyncpg.Connection) -> None:
    """A login that PostgreSQL carries out is told of, new device included, though its request was cancelled."""
    happened: list[events.Event] = []
    async with visit(make_app(dsn, on_event=happened.append)) as site:
        await site.login()
        await pg.execute("delete from aiosess_sessions")
        happened.clear()
        await _abort_behind(site, pg, "login", "none")
        await eventually(lambda: _are_told(happened, 2))
        assert [type(event) for event in happened] == [events.Created, events.NewDevice]
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 1
        assert not _under_way


@pytest.mark.threat("DB-14", "ROT-04")
async def test_theft_found_by_a_client_that_goes_away_is_told(dsn: str, pg: asyncpg.Connection) -> None:
    """A thief who hangs up while the session is being ended for it keeps the alarm from nobody: it comes once."""
    happened: list[events.Event] = []
    async with visit(make_app(dsn, on_event=happened.append)) as site:
        token = await site.login()
        await pg.execute("update aiosess_sessions set token_id = 'AAAAAAAAAAA', version = 3, settled_at = now()")
        happened.clear()
        await _abort_behind(site, pg, "promotion", token)
        await eventually(lambda: _are_told(happened, 1))
        assert (await site.present(token)).user is None
        assert [type(event) for event in happened] == [events.ReuseDetected]
        assert not _under_way


async def _abort_behind(site: Site, pg: asyncpg.Connection, moment: str, token: str) -> None:
    """Hang up while a request waits for a lock, and let the lock go when its handler is cancelled."""
    method, target, lock = ABORTS[moment]
    wire = await site.wire()
    async with pg.transaction():
        await pg.execute(lock or "")
        await wire.send(request_bytes(target, f"Cookie: {COOKIE}={token}".encode(), method=method))
        await somebody_waits(pg)
        wire.abort()
        await eventually(lambda: _is_noticed(site))


async def _are_told(happened: list[events.Event], count: int) -> bool:
    return len(happened) >= count


async def _is_noticed(site: Site) -> bool:
    """Say whether the server has noticed that the client is gone."""
    assert site.server.runner is not None
    server = site.server.runner.server
    assert server is not None
    return all(handler.transport is None for handler in server.connections)


async def _is_quiet(pg: asyncpg.Connection) -> bool:
    """Say whether no statement of anybody else runs."""
    running: int = await pg.fetchval(
        """
        select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'
        """
    )
    return running == 0
