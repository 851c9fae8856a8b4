"""One PostgreSQL server per worker, clean tables per test, and the rules about missing programs and hanging tests."""

import asyncio
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from aiosess import events
from aiosess._postgres.database import Database
from aiosess._postgres.schema import prepare
from aiosess._signals import Signals
from aiosess.config import SessionConfig
from aiosess.embedded import EmbeddedPostgres
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.databases import drop_database, empty_tables, make_database
from tests.world.site import Site, visit
from tests.world.waiting import Gate

NIGHTLY = os.environ.get("AIOSESS_NIGHTLY") == "1"
NIGHTLY_TIMEOUT = 6 * 3600  # seconds: the longest nightly test searches 10,000 histories

# A shell ignores SIGINT for what it runs in the background, and every process that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of a nightly run more time."""
    for item in items if NIGHTLY else ():
        item.add_marker(pytest.mark.timeout(NIGHTLY_TIMEOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a test that took too long what each asyncio task waited for: the stack of the thread is the loop's."""
    report = yield
    if call.excinfo is not None and "from pytest-timeout" in str(call.excinfo.value):
        tasks = [each for each in gc.get_objects() if isinstance(each, asyncio.Task) and not each.done()]
        report.sections.append(("tasks that have not ended", "\n\n".join(map(_where, tasks))))
    return report


def _where(task: "asyncio.Task[object]") -> str:
    """Return where a task waits, the innermost call last."""
    lines = [task.get_name()]
    call: Any = task.get_coro()
    while (frame := getattr(call, "cr_frame", None) or getattr(call, "gi_frame", None)) is not None:
        lines.append(f"  {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}")
        call = getattr(call, "cr_await", None) or getattr(call, "gi_yieldfrom", None)
    return "\n".join([*lines, f"  {call!r}"])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out a test whose program is absent, and say so; where CI has installed it, that is a failure."""
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if shutil.which(program) is None:
                message = f"needs {program}, which is not installed"
                if os.environ.get("AIOSESS_REQUIRE_PROGRAMS"):
                    pytest.fail(message)
                pytest.skip(message)


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """Return the DSN of a server that the tests may make databases on: DATABASE_URL's, or an embedded one."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    # A short path: a Unix socket's may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="aiosess") as folder:
        settings = {"fsync": "off", "max_connections": "300"}
        with EmbeddedPostgres(Path(folder) / "pg", settings=settings) as server:
            yield server.dsn


@pytest.fixture
async def empty_dsn(server_dsn: str) -> AsyncIterator[str]:
    """Return the DSN of a database of this test's own, without tables."""
    dsn = await make_database(server_dsn)
    yield dsn
    await drop_database(server_dsn, dsn)


@pytest.fixture(scope="session")
async def migrated_dsn(server_dsn: str) -> AsyncIterator[str]:
    """Return the DSN of this worker's database, with tables."""
    dsn = await make_database(server_dsn)
    database = Database(SessionConfig(), Signals())
    await database.connect(dsn)
    await prepare(database, "public", migrate=True)
    await database.close()
    yield dsn
    await drop_database(server_dsn, dsn)


@pytest.fixture
async def dsn(migrated_dsn: str) -> str:
    """Return the DSN of this worker's database, with empty tables."""
    await empty_tables(migrated_dsn)
    return migrated_dsn


@pytest.fixture
async def pg(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection to look at the rows and to move them in time."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
def happened() -> list[events.Event]:
    """Return the list that events go to."""
    return []


@pytest.fixture
async def site(request: pytest.FixtureRequest, dsn: str, happened: list[events.Event]) -> AsyncIterator[Site]:
    """
    Run the application of tests.world.app; its events go to `happened`.

    ``@pytest.mark.site(*routes, **options)`` on a test or a file adds routes and options of make_app().
    """
    routes: list[Any] = []
    options: dict[str, Any] = {"on_event": happened.append}
    for marker in reversed(list(request.node.iter_markers("site"))):  # the test's own marker comes last
        routes += marker.args
        options |= marker.kwargs
    async with visit(make_app(dsn, *routes, **options)) as site:
        yield site


@pytest.fixture
async def browser(site: Site) -> Browser:
    """Return a browser without a session."""
    return await site.browser()


@pytest.fixture
async def ada(site: Site) -> Browser:
    """Return a browser that ada is signed in with."""
    return await (await site.browser()).login("ada")


@pytest.fixture
def gate(site: Site) -> Gate:
    """Return the gate that the handler of /gate waits at."""
    return site.gate
