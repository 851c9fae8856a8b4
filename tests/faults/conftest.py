"""A server that tests stop, and a relay that they disturb."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aiosess.embedded import EmbeddedPostgres
from tests.world.relay import Relay, relayed


@pytest.fixture(scope="package")
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
