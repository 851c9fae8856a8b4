"""PostgreSQL is down, restarts or can only read: nobody is signed out, and nothing is reported as done."""

import asyncio
import logging
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from aiosess._token.keys import Keyring
from aiosess.embedded import EmbeddedPostgres
from tests.faults.probes import BRIEF, ask_all, is_up
from tests.world.app import SECRET, make_app
from tests.world.databases import cut_connections
from tests.world.relay import Relay
from tests.world.site import Site, visit
from tests.world.waiting import eventually
from tests.world.wire import NAVIGATION, Reply


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as an error."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# The server is down


@pytest.mark.threat("DB-05")
async def test_server_that_is_down_at_start_is_waited_for(
    server: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    """An application starts without its server and says so; pages that ask who is there are 503 until it comes up."""
    async with visit(make_app(server.dsn)) as site:
        token = await site.login()
    server.stop()
    async with visit(make_app(server.dsn, store_timeout=BRIEF)) as site:
        assert any("sessions are unavailable" in message for message in errors(caplog))
        assert await ask_all(site, token, "/me", 20) == {(503, None): 20}
        assert await ask_all(site, token, "/public", 20) == {(200, None): 20}
        server.start()

        async def knows() -> bool:
            return (await site.present(token)).status == 200

        await eventually(knows)
        assert (await site.present(token)).user == "ada"
        assert await site.login("bob")


@pytest.mark.threat("DB-05")
async def test_outage_says_when_to_come_back(server: EmbeddedPostgres) -> None:
    """A 503 carries Retry-After and is not to be stored."""
    async with visit(make_app(server.dsn, store_timeout=BRIEF)) as site:
        token = await site.login()
        server.stop()
        reply = await site.present(token)
        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) > 0
        assert reply.headers["Cache-Control"] == "no-store"
        for method, target in [("POST", "/login/ada"), ("POST", "/do/logout"), ("POST", "/do/rotate")]:
            reply = await site.present(token, target, *NAVIGATION, method=method)
            assert (reply.status, reply.token) == (503, None)


@pytest.mark.threat("DB-05")
async def test_outage_while_running_logs_nobody_out(server: EmbeddedPostgres, caplog: pytest.LogCaptureFixture) -> None:
    """While the server is stopped a hundred requests of each kind keep their cookies; afterwards all is as before."""
    async with visit(make_app(server.dsn, store_timeout=BRIEF)) as site:
        token = await site.login()
        server.stop()
        assert await ask_all(site, token, "/me", 100) == {(503, None): 100}
        assert await ask_all(site, token, "/public", 100) == {(200, None): 100}
        # One line for the outage, however many requests met it.
        assert len(errors(caplog)) == 1
        server.start()
        await eventually(lambda: is_up(site))
        assert await ask_all(site, token, "/me", 100) == {(200, None): 100}
        assert (await site.present(token)).user == "ada"
        assert any("answers again" in record.getMessage() for record in caplog.records)


@pytest.mark.threat("DB-05")
async def test_outage_is_met_once_per_probe(relay: Relay) -> None:
    """While the server is known to be down requests fail at once, and do not try to connect."""
    async with visit(make_app(relay.dsn, store_timeout=BRIEF)) as site:
        token = await site.login()
        relay.swallows = True
        await eventually(lambda: _is_down(site, token))
        before = relay.connections
        for _ in range(10):
            assert await ask_all(site, token, "/me", 10) == {(503, None): 10}
        assert relay.connections - before < 5  # the probes
        relay.swallows = False
        await eventually(lambda: is_up(site))
        assert (await site.present(token)).user == "ada"


async def _is_down(site: Site, token: str) -> bool:
    """Ask, and say whether the site knows that its store is down."""
    assert (await site.present(token)).status == 503
    return site.installation.database.outage.is_on


@pytest.mark.threat("DB-05")
async def test_restart_costs_no_request(server: EmbeddedPostgres) -> None:
    """Connections that a restart has cut are replaced before anybody notices."""
    async with visit(make_app(server.dsn)) as site:
        token = await site.login()
        assert await ask_all(site, token, "/me", 30) == {(200, None): 30}
        server.restart()
        assert await ask_all(site, token, "/me", 30) == {(200, None): 30}


@pytest.mark.threat("DB-05")
async def test_killed_backends_cost_no_request(dsn: str, pg: asyncpg.Connection) -> None:
    """When an administrator ends every connection, requests and writes go on without an error."""
    async with visit(make_app(dsn)) as site:
        token = await site.login()
        for _ in range(2):
            await asyncio.gather(*(site.login(f"user{n}") for n in range(10)))  # fills the pool
            await cut_connections(pg)
            assert await ask_all(site, token, "/me", 20) == {(200, None): 20}


# The server can only read
ENDINGS: dict[str, Any] = {
    "logout": "/do/logout",
    "logout_all": "/do/logout_all",
    "revoke": "/revoke/{id}",
    "rotate": "/do/rotate",
    "login": "/login/ada",
}


@pytest.mark.threat("DB-09")
@pytest.mark.parametrize("ending", ENDINGS)
async def test_read_only_server_never_reports_an_end(empty_dsn: str, server_dsn: str, ending: str) -> None:
    """On a server that refuses to write, ending a session is 503 and the cookie is kept; afterwards it can be ended."""
    name = urlsplit(empty_dsn).path[1:]
    admin = await asyncpg.connect(server_dsn)
    async with visit(make_app(empty_dsn)) as site:
        token = await site.login()
        target = ENDINGS[ending].format(id=Keyring(SECRET).verify(token, "aiosess").session_id)
        await _set_read_only(admin, name, "on")
        reply: Reply = await site.present(token, target, *NAVIGATION, method="POST")
        assert (reply.status, reply.token) == (503, None)
        await _set_read_only(admin, name, "off")
        await eventually(lambda: is_up(site))
        assert (await site.present(token)).user == "ada"
        assert (await site.present(token, target, method="POST")).status == 200
        assert (await site.present(token)).user is None
    await admin.close()


async def _set_read_only(admin: asyncpg.Connection, database: str, value: str) -> None:
    await admin.execute(f'alter database "{database}" set default_transaction_read_only = {value}')
    await admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1", database)
