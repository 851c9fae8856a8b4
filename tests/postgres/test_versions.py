"""PostgreSQL in other versions than the wheel's: those that Debian brings."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from aiosess._postgres.schema.fitness import OLDEST
from aiosess.embedded import EmbeddedPostgres
from tests.world.app import make_app
from tests.world.site import visit
from tests.world.tables import use_everything

pytestmark = pytest.mark.needs("pg_lsclusters")

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(params=INSTALLED, ids=lambda folder: folder.parent.name)
async def older(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedPostgres]:
    """Start a server of an installed version."""

    class OfDebian(EmbeddedPostgres):
        bin = request.param

    with (
        tempfile.TemporaryDirectory(prefix="aiosess") as folder,
        OfDebian(Path(folder) / "pg", settings={"fsync": "off"}) as server,
    ):
        yield server


@pytest.mark.threat("DB-18")
async def test_everything_works(older: EmbeddedPostgres) -> None:
    """Tables are made, and every statement does its work."""
    pg = await asyncpg.connect(older.dsn)
    assert pg.get_server_version().major >= OLDEST
    async with visit(make_app(older.dsn)) as site:
        await use_everything(site, pg)
    await pg.close()
