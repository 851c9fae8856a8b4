"""The pool, the deadline and the memory of being down, where a server has to be brought to an edge."""

import asyncio
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from aiosess.config import SessionConfig
from aiosess.database import Database
from aiosess.embedded import EmbeddedPostgres
from aiosess.errors import StoreUnavailable
from tests.site import eventually, make_app, visit


async def test_impossible_argument_is_no_outage(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """An argument that cannot be sent fails the one call, ends no connection, and is no sign of being down."""
    database = Database(SessionConfig())
    await database.connect(dsn)
    lost: list[None] = []
    database.on_lost(lambda: lost.append(None))
    with pytest.raises(StoreUnavailable):
        await database.fetch("select $1::int", "not a number")
    assert "cannot take an argument" in caplog.text
    assert "not a number" not in caplog.text
    assert [tuple(record) for record in await database.fetch("select 1")] == [(1,)]
    assert not lost
    await database.close()


async def test_close_does_not_wait_for_ever(dsn: str) -> None:
    """A connection that somebody still uses is cut when the deadline has passed."""
    database = Database(SessionConfig(store_timeout=timedelta(milliseconds=200)))
    await database.connect(dsn)
    pool = database._pool
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
