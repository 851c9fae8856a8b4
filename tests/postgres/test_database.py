"""The pool, the deadline and the memory of being down, where a server has to be brought to an edge."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from aiosess._postgres.connections import Connection
from aiosess._postgres.database import Database
from aiosess.embedded import EmbeddedPostgres
from aiosess.errors import StoreUnavailable
from tests.world.app import make_app
from tests.world.parts import unconnected
from tests.world.site import visit
from tests.world.waiting import eventually, somebody_waits


async def test_impossible_argument_is_no_outage(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """An argument that cannot be sent fails the one call, ends no connection, and is no sign of being down."""
    database = unconnected()
    await database.connect(dsn)
    lost: list[None] = []
    database._signals.connection_lost.connect(lambda: lost.append(None))
    with pytest.raises(StoreUnavailable):
        await database.fetch("select $1::int", "not a number")
    assert "cannot take an argument" in caplog.text
    assert "not a number" not in caplog.text
    assert [tuple(record) for record in await database.fetch("select 1")] == [(1,)]
    assert not lost
    await database.close()


async def test_close_does_not_wait_for_ever(dsn: str) -> None:
    """A connection that somebody still uses is cut when the deadline has passed."""
    database = unconnected(store_timeout=timedelta(milliseconds=200))
    await database.connect(dsn)
    pool = database.connections.pool
    assert pool is not None
    connection = await pool.acquire()
    await database.close()
    with pytest.raises(asyncpg.InterfaceError):
        await connection.fetchval("select 1")


@pytest.fixture(scope="module")
def standby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Return a server that is in recovery, as a standby is until it is promoted; it has the tables."""
    folder = Path(tmp_path_factory.mktemp("standby"))
    server = EmbeddedPostgres(folder / "pg", settings={"fsync": "off"})
    asyncio.run(_migrate(server.dsn))
    server.stop()
    (folder / "pg" / "data" / "standby.signal").touch()
    server.start()
    yield server
    server.stop()


async def _migrate(dsn: str) -> None:
    async with visit(make_app(dsn)):
        pass


@pytest.mark.threat("DB-09")
async def test_standby_counts_as_down_until_it_is_promoted(standby: EmbeddedPostgres) -> None:
    """A server in recovery never reports a login as done; once it is promoted the application works by itself."""
    async with visit(make_app(standby.dsn)) as site:
        browser = await site.browser()
        assert (await browser.post("/login/alice")).status == 503
        assert browser.token is None
        programs = standby.bin
        command = [programs / "psql", standby.dsn, "-c", "select pg_promote()"]
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)

        async def signs_in() -> bool:
            return (await browser.post("/login/alice")).status == 200

        await eventually(signs_in)
        assert await browser.user() == "alice"


@pytest.mark.threat("DB-09")
async def test_dsn_with_several_hosts_finds_the_primary(dsn: str) -> None:
    """With target_session_attrs=primary a DSN of several servers leads to the one that can write."""
    connection = await asyncpg.connect(dsn)
    host, port = await connection.fetchrow(
        "select split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port')"
    )
    name = await connection.fetchval("select current_database()")
    await connection.close()
    if not host:
        pytest.skip("the server has no Unix socket")
    user = "postgres"
    several = f"postgresql://{user}@/{name}?host=/nowhere,{host}&port={port},{port}&target_session_attrs=primary"
    async with visit(make_app(several)) as site:
        browser = await (await site.browser()).login("alice")
        assert await browser.user() == "alice"


# Losing the connection, or the race for a row


BRIEF = timedelta(seconds=0.5)


@pytest.fixture
async def brief(dsn: str) -> AsyncIterator[Database]:
    """Return a database with a short deadline."""
    database = unconnected(store_timeout=BRIEF)
    await database.connect(dsn)
    yield database
    await database.close()


@pytest.mark.threat("DB-14")
async def test_cancellation_is_not_lost_with_the_connection(brief: Database) -> None:
    """Who is cancelled in the moment in which the connection ends is cancelled, and does not ask again."""
    attempts = 0

    async def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        connection.add_termination_listener(lambda _: asking.cancel())
        await connection.execute("select pg_terminate_backend(pg_backend_pid())")

    asking = asyncio.create_task(brief.run(work))
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert attempts == 1


@pytest.mark.threat("DB-04")
async def test_deadline_holds_when_a_stall_ends_with_a_reset(brief: Database) -> None:
    """When a process stands still beyond the deadline and its connection is reset meanwhile, nothing is asked again."""
    attempts = 0

    def stall(transport: asyncio.Transport) -> None:
        transport.abort()
        time.sleep(2 * BRIEF.total_seconds())

    async def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        transport = connection._transport  # type: ignore[attr-defined]  # the proxy passes it on
        asyncio.get_running_loop().call_soon(stall, transport)
        await connection.execute("select 1")

    with pytest.raises(StoreUnavailable, match="in time"):
        await brief.run(work)
    assert attempts == 1


async def test_lost_race_for_a_row_is_run_again(empty_dsn: str, empty: asyncpg.Connection) -> None:
    """If a DBA has set a stricter isolation since the start, a write that another one overtook is made all the same."""
    async with asyncpg.create_pool(empty_dsn, min_size=0) as pool, visit(make_app("", pool=pool)) as site:
        browser = await (await site.browser()).login("alice")
        database = urlsplit(empty_dsn).path[1:]
        await empty.execute(f"""alter database "{database}" set default_transaction_isolation to 'repeatable read'""")
        await pool.expire_connections()
        async with empty.transaction():
            await empty.execute("""update aiosess_sessions set data = '{"a": 1}'""")
            writing = asyncio.create_task(browser.post("/set/b", json=2))
            await somebody_waits(empty)
        assert (await writing).status == 200
        assert await empty.fetchval('select data = \'{"a": 1, "b": 2}\' from aiosess_sessions')
