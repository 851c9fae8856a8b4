"""Answers of a server that say "not here": the connection is given up, the outage is noticed, and so is its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from aiosess.embedded import EmbeddedPostgres
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.relay import relayed
from tests.world.site import visit
from tests.world.waiting import eventually

DOWN, UP = "PostgreSQL answered with an error ({})", "PostgreSQL answers again"


async def migrate(dsn: str) -> None:
    """Make the tables."""
    async with visit(make_app(dsn)):
        pass


async def signs_in(browser: Browser) -> bool:
    """Try to sign in."""
    return (await browser.post("/login/alice")).status == 200


@asynccontextmanager
async def beside(server_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the server's own database, which stays where it is."""
    connection = await asyncpg.connect(server_dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.threat("DB-09")
async def test_a_connection_that_can_only_read_is_given_up(server_dsn: str, empty_dsn: str) -> None:
    """A write that meets a connection from before a failover is made on a new one, within the same request."""
    await migrate(empty_dsn)
    name = urlsplit(empty_dsn).path[1:]
    async with beside(server_dsn) as server:
        await server.execute(f'alter database "{name}" set default_transaction_read_only = on')
        async with visit(make_app(empty_dsn)) as site:  # which looks at its tables
            await server.execute(f'alter database "{name}" reset default_transaction_read_only')
            browser = await (await site.browser()).login("alice")
            assert await browser.user() == "alice"


@pytest.mark.threat("DB-09")
async def test_a_read_only_server_counts_as_down(
    server_dsn: str, empty_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While the whole server can only read, this is an outage for whoever watches the log; later it works by itself."""
    await migrate(empty_dsn)
    name = urlsplit(empty_dsn).path[1:]
    async with beside(server_dsn) as server:
        await server.execute(f'alter database "{name}" set default_transaction_read_only = on')
        async with visit(make_app(empty_dsn)) as site:
            browser = await site.browser()
            assert (await browser.post("/login/alice")).status == 503
            assert DOWN.format("ReadOnlySQLTransactionError 25006") in caplog.text
            await server.execute(f'alter database "{name}" reset default_transaction_read_only')
            await eventually(lambda: signs_in(browser))
    assert UP in caplog.text


async def test_a_server_without_a_free_connection_counts_as_down(
    empty_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """When others have taken all connections, this is an outage; when one is free again it works by itself."""
    await migrate(empty_dsn)
    owner = await asyncpg.connect(empty_dsn)
    role = f"{urlsplit(empty_dsn).path[1:]}_role"
    await owner.execute(f"create role {role} login connection limit 1")
    await owner.execute(f"grant select, insert, update, delete on all tables in schema public to {role}")
    try:
        taken = await asyncpg.connect(empty_dsn, user=role)
        async with (
            asyncpg.create_pool(empty_dsn, user=role, min_size=0, max_size=1) as pool,
            visit(make_app("", pool=pool, migrate=False)) as site,
        ):
            browser = await site.browser()
            assert (await browser.post("/login/alice")).status == 503
            assert DOWN.format("TooManyConnectionsError 53300") in caplog.text
            await taken.close()
            await eventually(lambda: signs_in(browser))
        assert UP in caplog.text
    finally:
        await owner.execute(f"drop owned by {role}")
        await owner.execute(f"drop role {role}")
        await owner.close()


async def test_a_database_that_is_away_counts_as_down(
    server_dsn: str, empty_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While the database does not exist, as during a restore, this is an outage; when it is back it works by itself."""
    name = urlsplit(empty_dsn).path[1:]
    async with beside(server_dsn) as server, visit(make_app(empty_dsn)) as site:
        browser = await (await site.browser()).login("alice")
        await rename(server, name, f"{name}_away")
        assert (await browser.get("/me")).status == 503
        assert DOWN.format("InvalidCatalogNameError 3D000: the server does not have the DSN's database") in caplog.text
        await rename(server, f"{name}_away", name)

        async def is_in() -> bool:
            return (await browser.get("/me")).status == 200

        await eventually(is_in)
        assert await browser.user() == "alice"
    assert UP in caplog.text


async def rename(server: asyncpg.Connection, name: str, to: str) -> None:
    """Rename a database, whoever is connected to it."""

    async def is_renamed() -> bool:
        await server.fetch("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
        try:
            await server.execute(f'alter database "{name}" rename to "{to}"')
        except asyncpg.ObjectInUseError:
            return False
        return True

    await eventually(is_renamed)


@pytest.mark.threat("DB-09")
async def test_a_server_in_recovery_does_not_count_as_up_again(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a write found a standby, nobody asks that who is signed in: its rows may be old. Probes don't end this."""
    folder = Path(tmp_path_factory.mktemp("recovery"))
    with EmbeddedPostgres(folder / "pg", settings={"fsync": "off"}) as server:
        async with visit(make_app(server.dsn)) as site:
            token = (await (await site.browser()).login("alice")).token
        await asyncio.to_thread(server.stop)
        (folder / "pg" / "data" / "standby.signal").touch()
        await asyncio.to_thread(server.start)
        async with relayed(server.dsn) as relay, visit(make_app(relay.dsn)) as site:
            browser = await site.browser(token)
            assert (await browser.post("/login/bob")).status == 503
            before = relay.connections

            # Every probe that fails gives its connection up; one that succeeds would keep it, and say so.
            async def was_probed() -> bool:
                return relay.connections > before + 2 or UP in caplog.text

            await eventually(was_probed)
            assert UP not in caplog.text
            assert (await browser.get("/me")).status == 503
