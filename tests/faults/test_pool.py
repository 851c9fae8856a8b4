"""Connections: the pool closes, is exhausted, or cannot connect."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiohttp import web

from tests.faults.probes import BRIEF, ask_all, is_up
from tests.world.ageing import make_due
from tests.world.app import make_app
from tests.world.databases import cut_connections
from tests.world.relay import Relay
from tests.world.site import visit
from tests.world.waiting import eventually


@pytest.mark.threat("DB-15")
async def test_our_pool_closes_and_the_applications_stays_open(dsn: str, pg: asyncpg.Connection) -> None:
    """At the end the pool that we made is closed, writes under way included; one that was given is left as it is."""
    async with visit(make_app(dsn)) as site:
        await asyncio.gather(*(site.login(f"user{n}") for n in range(10)))
    await eventually(lambda: _is_alone(pg))
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        async with visit(make_app(dsn, pool=pool)) as site:
            await site.login()
        assert await pool.fetchval("select count(*) from aiosess_sessions") == 11
        assert pool.get_size() > 0


async def _is_alone(pg: asyncpg.Connection) -> bool:
    others: int = await pg.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    return others == 0


@pytest.mark.threat("DB-15")
async def test_marks_are_written_at_the_end(dsn: str, pg: asyncpg.Connection) -> None:
    """Last activity that was collected and not yet written is written when the application ends."""
    async with visit(make_app(dsn)) as site:
        token = await site.login()
        await pg.execute("update aiosess_sessions set last_active_at = now() - interval '1 hour'")
        assert (await site.present(token)).user == "ada"
    assert await pg.fetchval("select last_active_at > now() - interval '1 minute' from aiosess_sessions")


@pytest.mark.threat("DOS-03")
async def test_saturated_store_makes_no_pile(relay: Relay) -> None:
    """With two connections on a dead network five hundred requests are answered 503, and nothing is left waiting."""
    async with visit(make_app(relay.dsn, pool_size=2, store_timeout=BRIEF)) as site:
        token = await site.login()
        relay.swallows = True
        before, opened = asyncio.all_tasks(), relay.connections
        for _ in range(5):
            assert await ask_all(site, token, "/me", 100) == {(503, None): 100}
        assert relay.connections - opened < 50
        await eventually(lambda: _are_few(before))
        relay.swallows = False
        await eventually(lambda: is_up(site))
        assert (await site.present(token)).user == "ada"


async def _are_few(before: set[asyncio.Task[Any]]) -> bool:
    """Say whether hardly any task is left that was not there before."""
    return len(asyncio.all_tasks() - before) < 10


@pytest.mark.threat("DB-04")
@pytest.mark.threat("DOS-03")
async def test_exhausted_pool_of_the_application_is_waited_for_no_longer(dsn: str) -> None:
    """While the application's own queries hold all connections of its pool, requests end with 503; then all is well."""
    async with (
        asyncpg.create_pool(dsn, min_size=0, max_size=2) as pool,
        visit(make_app(dsn, pool=pool, store_timeout=BRIEF)) as site,
    ):
        token = await site.login()
        async with pool.acquire(), pool.acquire():
            assert await ask_all(site, token, "/me", 50) == {(503, None): 50}
            assert await ask_all(site, token, "/public", 50) == {(200, None): 50}
        await eventually(lambda: is_up(site))
        assert (await site.present(token)).user == "ada"


@pytest.mark.threat("DB-04")
async def test_full_server_is_unknown_not_anonymous(empty_dsn: str, server_dsn: str) -> None:
    """When the server takes no more connections, requests are 503 with their cookies kept, and go on afterwards."""
    name = urlsplit(empty_dsn).path[1:]
    admin = await asyncpg.connect(server_dsn)
    async with visit(make_app(empty_dsn)) as site:
        token = await site.login()
    await admin.execute(f'alter database "{name}" allow_connections false')
    async with visit(make_app(empty_dsn, store_timeout=BRIEF)) as site:
        assert await ask_all(site, token, "/me", 10) == {(503, None): 10}
        await admin.execute(f'alter database "{name}" allow_connections true')

        async def knows() -> bool:
            return (await site.present(token)).status == 200

        await eventually(knows)
        assert (await site.present(token)).user == "ada"
    await admin.close()


class Passwords:
    """What an application's pool asks for the password: a service that may fail in any way."""

    def __init__(self) -> None:
        """Answer."""
        self.trouble: Exception | None = None
        self.asked = 0

    async def __call__(self) -> str:
        """Return the password, or raise what the test has laid down."""
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return "password"


@pytest.mark.threat("DB-05")
async def test_pool_that_fails_for_the_application_recovers(dsn: str, pg: asyncpg.Connection) -> None:
    """Whatever the application raises in its own pool is an outage, 503 and probed for, and ends with its cause."""
    passwords = Passwords()
    async with (
        asyncpg.create_pool(dsn, min_size=0, password=passwords) as pool,
        visit(make_app(dsn, pool=pool, store_timeout=BRIEF)) as site,
    ):
        token = await site.login()
        for trouble, is_outage in ((RuntimeError(), False), (OSError(), True), (RuntimeError(), True)):
            passwords.trouble = trouble
            await cut_connections(pg)
            asked = passwords.asked
            assert (await site.present(token)).status == 503
            assert site.installation.database.outage.is_on is is_outage
            if is_outage:
                await eventually(lambda asked=asked: _is_asked(passwords, asked + 3))
        passwords.trouble = None
        await eventually(lambda: is_up(site))
        assert (await site.present(token)).user == "ada"


async def _is_asked(passwords: Passwords, times: int) -> bool:
    return passwords.asked >= times


@pytest.mark.threat("DB-05")
async def test_pool_that_fails_for_the_application_costs_no_response(dsn: str, pg: asyncpg.Connection) -> None:
    """A response whose successor cannot be leased, whatever the application's pool raises, goes out as it is."""
    passwords = Passwords()

    async def pay(_: web.Request) -> web.Response:
        passwords.trouble = RuntimeError()
        await cut_connections(pg)
        return web.Response(text="paid")

    async with (
        asyncpg.create_pool(dsn, min_size=0, password=passwords) as pool,
        visit(make_app(dsn, web.post("/pay", pay), pool=pool)) as site,
    ):
        token = await site.login()
        await make_due(pg)
        reply = await site.present(token, "/pay", method="POST")
        assert (reply.status, reply.body, reply.token) == (200, b"paid", None)
        passwords.trouble = None
        assert (await site.present(token)).token
