"""Through PgBouncer in transaction mode, where two statements of one client may meet two servers."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import pytest

from aiosess._token.keys import Keyring
from tests.world.ageing import age, make_due
from tests.world.app import SECRET, make_app
from tests.world.site import Site, visit
from tests.world.waiting import eventually, somebody_waits

pytestmark = [pytest.mark.needs("pgbouncer"), pytest.mark.threat("DB-08")]

PREPARES = (1, 21)  # the first version that follows named prepared statements in transaction mode


def version() -> tuple[int, int]:
    """Return the installed PgBouncer's version."""
    said = subprocess.run(["pgbouncer", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    assert found
    return int(found[1]), int(found[2])


def upstream(dsn: str) -> str:
    """Return the line of PgBouncer's configuration that leads to a DSN's database."""
    parts = urlsplit(dsn)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    words = {
        "host": query.get("host") or parts.hostname or "127.0.0.1",
        "port": query.get("port") or str(parts.port or 5432),
        "dbname": parts.path[1:],
        "user": unquote(parts.username or "postgres"),
        "password": unquote(parts.password or "none"),
    }
    return "site = " + " ".join(f"{name}='{value}'" for name, value in words.items())


async def answers(dsn: str) -> bool:
    """Say whether somebody answers."""
    try:
        connection = await asyncpg.connect(dsn, statement_cache_size=0)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


def configure(folder: Path, dsn: str, port: int) -> list[str | Path]:
    """Write the configuration of a PgBouncer that has two connections for everybody; return the command for it."""
    settings = folder / "pgbouncer.ini"
    lines = [
        "[databases]",
        upstream(dsn),
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = any",
        "pool_mode = transaction",
        "default_pool_size = 2",
        "max_client_conn = 200",
    ]
    if version() >= PREPARES:
        lines.append("max_prepared_statements = 100")
    settings.write_text("\n".join(lines))
    if os.geteuid() != 0:
        return ["pgbouncer", "-q", settings]
    folder.chmod(0o755)
    return ["pgbouncer", "-q", "-u", "nobody", settings]  # it refuses to run as root; so does the embedded server


def ways() -> list[str]:
    """Return the ways that the installed PgBouncer allows: our pool names prepared statements."""
    allowed = ["statement_cache_size=0", "our pool, statement_cache_size=0"]
    if shutil.which("pgbouncer") is not None and version() >= PREPARES:
        allowed.append("our pool")
    return allowed


@pytest.fixture
async def bouncer_dsn(dsn: str) -> AsyncIterator[str]:
    """Return the DSN of the run's database through PgBouncer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="aiosess") as folder:
        command = configure(Path(folder), dsn, port)
        process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
        through = f"postgresql://anybody@127.0.0.1:{port}/site?sslmode=disable"
        try:
            await eventually(lambda: answers(through))
            yield through
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def bounced(dsn: str, settings: str) -> AsyncIterator[Site]:
    """Run the application with a pool of its own, or with one that names no prepared statements."""
    async with AsyncExitStack() as stack:
        if settings == "our pool":
            yield await stack.enter_async_context(visit(make_app(dsn)))
        elif settings == "our pool, statement_cache_size=0":
            yield await stack.enter_async_context(visit(make_app(dsn, statement_cache_size=0)))
        else:
            pool = asyncpg.create_pool(dsn, min_size=0, max_size=10, statement_cache_size=0)
            pool = await stack.enter_async_context(pool)
            yield await stack.enter_async_context(visit(make_app("", pool=pool)))


@pytest.mark.parametrize("settings", ways())
async def test_session_lives_through_pgbouncer(bouncer_dsn: str, pg: asyncpg.Connection, settings: str) -> None:
    """Login, data, minting, promotion, settling, rotation, listing, revocation and the sweep work."""
    async with bounced(bouncer_dsn, settings) as site:
        browser = await (await site.browser()).login("ada")
        assert (await browser.post("/set/theme", json="dark")).status == 200
        await make_due(pg)
        first = browser.token
        assert await browser.user() == "ada"
        assert browser.token != first
        assert await browser.user() == "ada"
        await age(pg, 61)
        assert await browser.user() == "ada"
        await site.installation.upkeep.flush()
        await eventually(lambda: pg.fetchval("select settled_at is not null from aiosess_sessions"))
        assert (await browser.post("/do/rotate")).status == 200
        other = await (await site.browser()).login("ada")
        assert len(await site.store.list_for_user("ada")) == 2
        assert (await browser.post("/do/logout_other")).status == 200
        assert await other.user() is None
        assert browser.token
        await site.store.revoke(Keyring(SECRET).verify(browser.token, "aiosess").session_id)
        assert await browser.user() is None
        await browser.login("ada")
        await age(pg, 40 * 86_400)
        assert await browser.user() is None
        assert await site.store.sweep() == 1


@pytest.mark.parametrize("settings", ways())
async def test_many_clients_share_two_servers(bouncer_dsn: str, settings: str) -> None:
    """Forty users at once, whose statements meet either server, each see their own session and none other."""

    async def work(site: Site, user: str) -> None:
        token = (await site.present("none", f"/login/{user}", method="POST")).token
        assert token
        for _ in range(5):
            assert (await site.present(token)).user == user
        rotated = (await site.present(token, "/do/rotate", method="POST")).token
        assert rotated
        assert (await site.present(token)).user is None
        assert (await site.present(rotated)).user == user
        assert await site.store.revoke_user(user) == 1
        assert (await site.present(rotated)).user is None

    async with bounced(bouncer_dsn, settings) as site:
        await asyncio.gather(*(work(site, f"user{n}") for n in range(40)))


async def test_migration_runs_through_pgbouncer(bouncer_dsn: str, pg: asyncpg.Connection) -> None:
    """The tables can be made through PgBouncer, in a schema of choice, and the lock goes with the transaction."""
    try:
        async with asyncpg.create_pool(bouncer_dsn, min_size=0, max_size=5, statement_cache_size=0) as pool:
            async with visit(make_app("", pool=pool, schema="bounced")) as site:
                assert await (await (await site.browser()).login("ada")).user() == "ada"
            locks = "from pg_locks join pg_database d on d.oid = database where datname = current_database()"
            assert await pg.fetchval(f"select count(*) {locks} and locktype = 'advisory'") == 0
    finally:
        await pg.execute("drop schema if exists bounced cascade")


async def test_ending_beats_a_waiting_write_through_pgbouncer(bouncer_dsn: str, pg: asyncpg.Connection) -> None:
    """A write that waits for a row while the session ends is told so, through PgBouncer as without."""
    async with bounced(bouncer_dsn, "statement_cache_size=0") as site:
        token = (await site.present("none", "/login/ada", method="POST")).token
        assert token
        async with pg.transaction():
            await pg.execute("delete from aiosess_sessions")
            answer = asyncio.create_task(site.present(token, "/do/rotate", method="POST"))
            await somebody_waits(pg)
        assert (await answer).status == 401
        assert (await site.present(token)).user is None
