"""A database that is down, silent, slow, read-only or full: nobody is logged out, nothing is claimed, all recovers."""

import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiohttp import web

from aiosess import events
from aiosess._postgres.carried_through import _under_way
from aiosess._token.keys import Keyring
from aiosess.embedded import EmbeddedPostgres
from tests.world.ageing import make_due
from tests.world.app import SECRET, make_app
from tests.world.databases import cut_connections
from tests.world.relay import Relay, relayed
from tests.world.site import Site, visit
from tests.world.waiting import Gate, eventually, somebody_waits
from tests.world.wire import COOKIE, Reply, request_bytes

BRIEF = timedelta(seconds=0.5)
NAVIGATION = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document")
# Far more than BRIEF for a busy machine, far less than a request without a deadline takes.
PATIENCE = 20


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    """Return a server that these tests stop and start."""
    with (
        tempfile.TemporaryDirectory(prefix="aiosess") as folder,
        EmbeddedPostgres(Path(folder) / "pg", settings={"fsync": "off"}) as server,
    ):
        yield server


@pytest.fixture
def server(own_server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """Return the server of these tests, running; it runs again afterwards."""
    own_server.start()
    yield own_server
    own_server.start()


@pytest.fixture
async def relay(dsn: str) -> AsyncIterator[Relay]:
    """Return a relay before the run's database."""
    async with relayed(dsn) as relay:
        yield relay


async def login(site: Site, user: str = "ada") -> str:
    """Sign in and return the token."""
    reply = await site.present("none", f"/login/{user}", method="POST")
    assert reply.status == 200
    assert reply.token
    return reply.token


async def is_up(site: Site) -> bool:
    """Say whether the site knows again who is asking."""
    return (await site.present("none", "/me")).status == 200 and not site.installation.database.outage.is_on


async def ask_all(site: Site, token: str, target: str, times: int) -> Counter[tuple[int, str | None]]:
    """Ask for a page many times at once, and count what came: status and cookie."""
    async with asyncio.timeout(PATIENCE):
        replies = await asyncio.gather(*(site.present(token, target, *NAVIGATION) for _ in range(times)))
    return Counter((reply.status, reply.token) for reply in replies)


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
        token = await login(site)
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
        assert await login(site, "bob")


@pytest.mark.threat("DB-05")
async def test_outage_says_when_to_come_back(server: EmbeddedPostgres) -> None:
    """A 503 carries Retry-After and is not to be stored."""
    async with visit(make_app(server.dsn, store_timeout=BRIEF)) as site:
        token = await login(site)
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
        token = await login(site)
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
        token = await login(site)
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
        token = await login(site)
        assert await ask_all(site, token, "/me", 30) == {(200, None): 30}
        server.restart()
        assert await ask_all(site, token, "/me", 30) == {(200, None): 30}


@pytest.mark.threat("DB-05")
async def test_killed_backends_cost_no_request(dsn: str, pg: asyncpg.Connection) -> None:
    """When an administrator ends every connection, requests and writes go on without an error."""
    async with visit(make_app(dsn)) as site:
        token = await login(site)
        for _ in range(2):
            await asyncio.gather(*(login(site, f"user{n}") for n in range(10)))  # fills the pool
            await cut_connections(pg)
            assert await ask_all(site, token, "/me", 20) == {(200, None): 20}


# The network is silent, slow or cuts


@pytest.mark.threat("DB-04")
@pytest.mark.parametrize("since", ["start", "connected", "mid-query"])
async def test_silent_network_ends_with_the_deadline(dsn: str, relay: Relay, since: str) -> None:
    """When bytes vanish, every request ends with 503 at the deadline, connecting included, and all recovers."""
    async with visit(make_app(dsn)) as site:
        token = await login(site)
    relay.swallows = since == "start"
    async with visit(make_app(relay.dsn, store_timeout=BRIEF)) as site:
        if since == "mid-query":
            assert (await site.present(token)).user == "ada"
            relay.gate.clear()
            replies = asyncio.create_task(ask_all(site, token, "/me", 20))
            await eventually(lambda: _is_in_flight(site))
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


async def _is_in_flight(site: Site) -> bool:
    return bool(site.installation.checker._in_flight)


@pytest.mark.threat("DB-04")
async def test_silent_network_does_not_hold_up_the_end(relay: Relay) -> None:
    """An application whose network is dead still shuts down."""
    async with asyncio.timeout(PATIENCE):
        async with visit(make_app(relay.dsn, store_timeout=BRIEF)) as site:
            token = await login(site)
            relay.swallows = True
            assert (await site.present(token)).status == 503


@pytest.mark.threat("DB-04")
async def test_write_that_times_out_is_not_reported_as_done(relay: Relay, pg: asyncpg.Connection) -> None:
    """A write that waits for a lock beyond the deadline is 503, and the session is not ended by that."""
    async with visit(make_app(relay.dsn, store_timeout=BRIEF)) as site:
        token = await login(site)
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
        tokens = [await login(site) for _ in range(2)]
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
        token = await login(site)
        relay.gate.clear()
        answer = asyncio.create_task(ask_all(site, token, "/me", 20))
        await eventually(lambda: _is_in_flight(site))
        relay.gate.set()
        assert await answer == {(200, None): 20}


@pytest.mark.threat("DB-04")
async def test_reset_connections_cost_no_request(relay: Relay) -> None:
    """Connections that the network has reset are replaced, also those that a question is waiting on."""
    async with visit(make_app(relay.dsn)) as site:
        token = await login(site)
        for _ in range(5):
            relay.cut()
            assert await ask_all(site, token, "/me", 20) == {(200, None): 20}
        relay.gate.clear()
        answer = asyncio.create_task(ask_all(site, token, "/me", 20))
        await eventually(lambda: _is_in_flight(site))
        relay.cut()
        relay.gate.set()
        assert await answer == {(200, None): 20}


# Answers are lost after the commit


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_login_makes_one_session(relay: Relay, pg: asyncpg.Connection) -> None:
    """A login whose answer is lost is asked again and finds itself done: one session, one cookie, told once."""
    happened: list[events.Event] = []
    async with visit(make_app(relay.dsn, on_event=happened.append)) as site:
        relay.lose_answer("aiosess_authenticate")
        token = await login(site)
        assert relay.lost == 1
        assert (await site.present(token)).user == "ada"
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 1
        assert [type(event) for event in happened] == [events.Created, events.NewDevice]


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_login_evicts_once(relay: Relay, pg: asyncpg.Connection) -> None:
    """Asking again for a login that had to evict evicts nobody else."""
    async with visit(make_app(relay.dsn, max_sessions_per_user=2)) as site:
        _, second = await login(site), await login(site)
        relay.lose_answer("aiosess_authenticate")
        third = await login(site)
        assert relay.lost == 1
        assert [(await site.present(token)).user for token in (second, third)] == ["ada", "ada"]
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 2


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_promotion_is_no_theft(relay: Relay, pg: asyncpg.Connection) -> None:
    """A promotion whose answer is lost leaves the browser signed in, and raises no alarm."""
    happened: list[events.Event] = []
    async with visit(make_app(relay.dsn, on_event=happened.append)) as site:
        token = await login(site)
        await make_due(pg)
        successor = (await site.present(token)).token
        assert successor
        relay.lose_answer("promoted_at = now(),\n    settled_at = null")
        reply = await site.present(successor)
        assert relay.lost == 1
        assert (reply.user, reply.token) == ("ada", None)
        assert (await site.present(successor)).user == "ada"
        assert await pg.fetchval("select version from aiosess_sessions") == 2
        assert not [event for event in happened if isinstance(event, events.ReuseDetected)]


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_lease_only_puts_off_the_successor(relay: Relay, pg: asyncpg.Connection) -> None:
    """A mint whose answer is lost sends no cookie, and the next one after the lease does."""
    async with visit(make_app(relay.dsn)) as site:
        token = await login(site)
        await make_due(pg)
        relay.lose_answer("mint_until = greatest(")
        reply = await site.present(token)
        assert relay.lost == 1
        assert (reply.user, reply.token) == ("ada", None)
        await pg.execute("update aiosess_sessions set mint_until = now(), holder_until = now()")
        assert (await site.present(token)).token


@pytest.mark.threat("DB-06")
@pytest.mark.parametrize("method", ["rotate", "reauthenticated"])
async def test_lost_answer_of_a_rotation_loses_no_session(relay: Relay, pg: asyncpg.Connection, method: str) -> None:
    """A rotation whose answer is lost is asked again and finds itself done: the new token goes out."""
    async with visit(make_app(relay.dsn)) as site:
        token = await login(site)
        relay.lose_answer("secret_hash = $3")
        reply = await site.present(token, f"/do/{method}", method="POST")
        assert relay.lost == 1
        assert reply.status == 200
        assert reply.token
        assert (await site.present(reply.token)).user == "ada"
        assert (await site.present(token)).user is None
        assert await pg.fetchval("select version from aiosess_sessions") == 2


@pytest.mark.threat("DB-06")
@pytest.mark.parametrize(
    ("target", "statement", "status"),
    [
        ("/do/logout", "delete from", 200),
        ("/do/logout_all", "aiosess_revoke_user", 200),
        # Asked again there is nothing left to end. That is not "done", but it is true.
        ("/revoke/{id}", "delete from", 404),
    ],
)
async def test_lost_answer_of_an_ending_has_ended(
    relay: Relay, pg: asyncpg.Connection, target: str, statement: str, status: int
) -> None:
    """A logout or revocation whose answer is lost has ended the session, and is not reported as failed or half done."""
    async with visit(make_app(relay.dsn)) as site:
        token = await login(site)
        session_id = Keyring(SECRET).verify(token, "aiosess").session_id
        relay.lose_answer(statement)
        reply = await site.present(token, target.format(id=session_id), method="POST")
        assert relay.lost == 1
        assert reply.status == status
        assert (await site.present(token)).user is None
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 0


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_patch_is_asked_again(relay: Relay, pg: asyncpg.Connection) -> None:
    """Setting a key twice because the answer was lost sets it once."""
    async with visit(make_app(relay.dsn)) as site:
        browser = await (await site.browser()).login("ada")
        relay.lose_answer("jsonb_build_object")
        assert (await browser.post("/set/theme", json="dark")).status == 200
        assert relay.lost == 1
        assert await pg.fetchval("select data from aiosess_sessions") == '{"theme": "dark"}'


@pytest.mark.threat("DB-06")
async def test_lost_answer_of_a_theft_alarm_still_ends(relay: Relay, pg: asyncpg.Connection) -> None:
    """When the answer to ending a copied session is lost, both holders are out nevertheless."""
    async with visit(make_app(relay.dsn)) as site:
        token = await login(site)
        await pg.execute("update aiosess_sessions set token_id = 'AAAAAAAAAAA', version = 3, settled_at = now()")
        relay.lose_answer("delete from")
        assert (await site.present(token)).user is None
        assert relay.lost == 1
        assert await pg.fetchval("select count(*) from aiosess_sessions") == 0


@pytest.mark.threat("DB-06")
async def test_answers_that_are_always_lost_are_no_success(relay: Relay) -> None:
    """A login whose answer is lost twice is 503 and sets no cookie."""
    async with visit(make_app(relay.dsn)) as site:
        for _ in range(2):
            relay.lose_answer("aiosess_authenticate")
        reply = await site.present("none", "/login/ada", method="POST")
        assert relay.lost == 2
        assert (reply.status, reply.token) == (503, None)


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
        token = await login(site)
        slow = asyncio.create_task(site.present(token, "/gate", method="POST"))
        await gate.entered.wait()
        for _ in range(5):
            assert (await site.present(token)).user == "ada"
        assert await login(site, "bob")
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
        token = await login(site)
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
            await eventually(lambda: _is_in_flight(site))
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
        assert await login(site, "bob")
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
        await login(site)
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
        token = await login(site)
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


@pytest.mark.threat("DB-15")
async def test_our_pool_closes_and_the_applications_stays_open(dsn: str, pg: asyncpg.Connection) -> None:
    """At the end the pool that we made is closed, writes under way included; one that was given is left as it is."""
    async with visit(make_app(dsn)) as site:
        await asyncio.gather(*(login(site, f"user{n}") for n in range(10)))
    await eventually(lambda: _is_alone(pg))
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        async with visit(make_app(dsn, pool=pool)) as site:
            await login(site)
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
        token = await login(site)
        await pg.execute("update aiosess_sessions set last_active_at = now() - interval '1 hour'")
        assert (await site.present(token)).user == "ada"
    assert await pg.fetchval("select last_active_at > now() - interval '1 minute' from aiosess_sessions")


@pytest.mark.threat("DOS-03")
async def test_saturated_store_makes_no_pile(relay: Relay) -> None:
    """With two connections on a dead network five hundred requests are answered 503, and nothing is left waiting."""
    async with visit(make_app(relay.dsn, pool_size=2, store_timeout=BRIEF)) as site:
        token = await login(site)
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
        token = await login(site)
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
        token = await login(site)
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
        token = await login(site)
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
        token = await login(site)
        await make_due(pg)
        reply = await site.present(token, "/pay", method="POST")
        assert (reply.status, reply.body, reply.token) == (200, b"paid", None)
        passwords.trouble = None
        assert (await site.present(token)).token


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
        token = await login(site)
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
