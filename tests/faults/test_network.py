"""The network to PostgreSQL is silent, slow or cut."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from aiosess._postgres.outage import PROBE_PATIENCE
from tests.faults.probes import BRIEF, PATIENCE, ask_all, is_in_flight, is_up
from tests.world.app import make_app
from tests.world.parts import unconnected
from tests.world.relay import Relay
from tests.world.site import visit
from tests.world.waiting import eventually
from tests.world.wire import NAVIGATION

if TYPE_CHECKING:
    from aiosess import events


# The network is silent, slow or cuts


@pytest.mark.threat("DB-04")
@pytest.mark.parametrize("since", ["start", "connected", "mid-query"])
async def test_silent_network_ends_with_the_deadline(dsn: str, relay: Relay, since: str) -> None:
    """When bytes vanish, every request ends with 503 at the deadline, connecting included, and all recovers."""
    async with visit(make_app(dsn)) as site:
        token = await site.login()
    relay.swallows = since == "start"
    async with visit(make_app(relay.dsn, store_timeout=BRIEF)) as site:
        if since == "mid-query":
            assert (await site.present(token)).user == "ada"
            relay.gate.clear()
            replies = asyncio.create_task(ask_all(site, token, "/me", 20))
            await eventually(lambda: is_in_flight(site))
            relay.swallows = True
            relay.gate.set()
            assert await replies == {(503, None): 20}
        elif since == "connected":
            assert (await site.present(token)).user == "ada"
            relay.swallows = True
        assert await ask_all(site, token, "/me", 20) == {(503, None): 20}
        assert await ask_all(site, token, "/public", 20) == {(200, None): 20}
        writes = [site.present(token, target, method="POST") for target in ("/login/ada", "/do/rotate", "/do/logout")]
        async with asyncio.timeout(PATIENCE):
            assert {(reply.status, reply.token) for reply in await asyncio.gather(*writes)} == {(503, None)}
        relay.swallows = False
        await eventually(lambda: is_up(site))

        async def knows() -> bool:
            return (await site.present(token)).status == 200

        await eventually(knows)
        assert (await site.present(token)).user == "ada"


@pytest.mark.threat("DB-04")
async def test_silent_network_does_not_hold_up_the_end(relay: Relay) -> None:
    """An application whose network is dead still shuts down."""
    async with asyncio.timeout(PATIENCE):
        async with visit(make_app(relay.dsn, store_timeout=BRIEF)) as site:
            token = await site.login()
            relay.swallows = True
            assert (await site.present(token)).status == 503


@pytest.mark.threat("DB-04")
async def test_write_that_times_out_is_not_reported_as_done(relay: Relay, pg: asyncpg.Connection) -> None:
    """A write that waits for a lock beyond the deadline is 503, and the session is not ended by that."""
    async with visit(make_app(relay.dsn, store_timeout=BRIEF)) as site:
        token = await site.login()
        async with pg.transaction():
            await pg.execute("select from aiosess_sessions for update")
            async with asyncio.timeout(PATIENCE):
                reply = await site.present(token, "/do/rotate", *NAVIGATION, method="POST")
            assert (reply.status, reply.token) == (503, None)
            # One slow statement is no outage: others go on.
            assert (await site.present(token)).user == "ada"


@pytest.mark.threat("DB-04", "DB-06", "DOS-03")
async def test_login_that_times_out_is_not_carried_out_later(dsn: str, pg: asyncpg.Connection) -> None:
    """A login whose deadline passed behind a lock is cancelled at the server: it evicts nobody when the lock goes."""
    happened: list[events.Event] = []
    options: dict[str, Any] = {"max_sessions_per_user": 2, "store_timeout": BRIEF, "on_event": happened.append}
    async with visit(make_app(dsn, **options)) as site:
        tokens = [await site.login() for _ in range(2)]
        happened.clear()
        async with pg.transaction():
            await pg.execute("select from aiosess_logins for update")
            assert (await site.present("none", "/login/ada", method="POST")).status == 503
            # Who waits for a row waits for a transaction, which belongs to no database, and has the table locked.
            waiting = """
                select from pg_locks w join pg_locks t using (pid) join pg_database d on d.oid = t.database
                where datname = current_database() and not w.granted
            """
            await eventually(lambda: pg.fetchval(f"select not exists ({waiting})"))
        assert [(await site.present(token)).user for token in tokens] == ["ada", "ada"]
        assert happened == []


@pytest.mark.threat("DB-04")
async def test_slow_network_is_only_slow(relay: Relay) -> None:
    """Answers that come late, but before the deadline, are answers."""
    async with visit(make_app(relay.dsn)) as site:
        token = await site.login()
        relay.gate.clear()
        answer = asyncio.create_task(ask_all(site, token, "/me", 20))
        await eventually(lambda: is_in_flight(site))
        relay.gate.set()
        assert await answer == {(200, None): 20}


@pytest.mark.threat("DB-04")
async def test_reset_connections_cost_no_request(relay: Relay) -> None:
    """Connections that the network has reset are replaced, also those that a question is waiting on."""
    async with visit(make_app(relay.dsn)) as site:
        token = await site.login()
        for _ in range(5):
            relay.cut()
            assert await ask_all(site, token, "/me", 20) == {(200, None): 20}
        relay.gate.clear()
        answer = asyncio.create_task(ask_all(site, token, "/me", 20))
        await eventually(lambda: is_in_flight(site))
        relay.cut()
        relay.gate.set()
        assert await answer == {(200, None): 20}


@pytest.mark.threat("DB-21")
async def test_slow_connecting_ends_an_outage(relay: Relay) -> None:
    """Where connecting takes longer than the patience of a probe, an outage ends all the same."""
    async with visit(make_app(relay.dsn, store_timeout=timedelta(seconds=20))) as site:
        token = await site.login()
        relay.refuses = True
        relay.cut()
        assert await ask_all(site, token, "/me", 10) == {(503, None): 10}
        assert site.installation.database.outage.is_on
        relay.connecting_takes = 1.5 * PROBE_PATIENCE
        relay.refuses = False
        await eventually(lambda: is_up(site))
        assert (await site.present(token)).user == "ada"


@pytest.mark.threat("DB-21")
async def test_slow_connecting_costs_no_request(dsn: str, relay: Relay) -> None:
    """A request waits for a connection as long as store_timeout says."""
    async with visit(make_app(dsn)) as site:
        token = await site.login()
    relay.connecting_takes = 1.5 * PROBE_PATIENCE
    async with visit(make_app(relay.dsn, store_timeout=timedelta(seconds=20))) as site:
        assert (await site.present(token)).user == "ada"


@pytest.mark.threat("DB-05")
async def test_dead_connections_cost_one_request(relay: Relay) -> None:
    """When all connections of the pool are dead and none has noticed, one request fails, and no other one after it."""
    async with visit(make_app(relay.dsn, store_timeout=timedelta(seconds=2))) as site:
        token = await site.login()
        await asyncio.gather(*(site.login(f"user{n}") for n in range(10)))  # fills the pool
        made = relay.connections
        relay.forget()
        assert (await site.present(token)).status == 503
        for _ in range(made):
            assert (await site.present(token)).user == "ada"
        assert not site.installation.database.outage.is_on


@pytest.mark.threat("DB-05")
async def test_cancelled_doubt_leaves_nothing_behind(relay: Relay) -> None:
    """A request that is cancelled while a doubtful connection is asked gives the connection up."""
    database = unconnected(store_timeout=timedelta(seconds=20))
    await database.connect(relay.dsn)
    await database.fetch("select 1")
    relay.forget()
    database.connections.doubt.note_silence()
    asking = asyncio.create_task(database.fetch("select 1"))
    pool = database.connections.pool
    assert pool is not None
    await eventually(lambda: pool.get_idle_size() == 0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert pool.get_size() == 0
    await database.close()
