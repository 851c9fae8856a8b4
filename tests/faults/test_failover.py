"""A primary and its standby: only the primary is asked, whichever of the two it is."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from aiosess._postgres.primary import NotPrimary
from aiosess.errors import ConfigError, StoreUnavailable
from tests.faults.probes import ask_all, is_up
from tests.world.app import make_app
from tests.world.parts import connected, unconnected
from tests.world.replica import Pair, on
from tests.world.site import Site, visit
from tests.world.tokens import SESSION_ID
from tests.world.waiting import eventually

OWNERS = ("our pool", "the application's pool")


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return a primary and its standby."""
    with tempfile.TemporaryDirectory(prefix="aiosess") as folder:
        pair = Pair(Path(folder))
        yield pair
        pair.stop()


@asynccontextmanager
async def serve(dsn: str, owner: str, **options: Any) -> AsyncIterator[Site]:
    """Run an application whose pool is its own or aiosess's; no option of the pool asks for the primary."""
    if owner == "our pool":
        async with visit(make_app(dsn, **options)) as site:
            yield site
        return
    async with asyncpg.create_pool(dsn, min_size=0) as pool, visit(make_app("", pool=pool, **options)) as site:
        yield site


async def knows(site: Site, token: str) -> bool:
    """Say whether a request with this token is answered."""
    return (await site.present(token)).status == 200


@pytest.mark.threat("DB-17", "DB-09")
@pytest.mark.parametrize("owner", OWNERS)
async def test_standby_answers_no_check(pair: Pair, owner: str) -> None:
    """While the primary is away for a moment, its standby is not asked; a revocation made since is seen."""
    async with serve(pair.dsn, owner) as site:
        token = await site.login()
        await pair.caught_up()
        await on(pair.standby, "select pg_wal_replay_pause()")
        await asyncio.to_thread(pair.primary.stop)
        assert await ask_all(site, token, "/me", 20) == {(503, None): 20}
        await asyncio.to_thread(pair.primary.start)
        async with connected(pair.primary.dsn) as elsewhere:
            await elsewhere.store.revoke_user("ada")
        await eventually(lambda: knows(site, token))
        assert (await site.present(token)).user is None


@pytest.mark.threat("DB-17", "DB-09")
@pytest.mark.parametrize("owner", OWNERS)
async def test_failover_is_followed(pair: Pair, owner: str) -> None:
    """When the standby was promoted and the old primary is the standby, sessions go on, and writes are made."""
    async with serve(pair.dsn, owner) as site:
        token = await site.login()
        await pair.caught_up()
        await asyncio.to_thread(pair.primary.stop)
        await pair.promote()
        if owner == "our pool":
            await eventually(lambda: knows(site, token))
            assert (await site.present(token)).user == "ada"
            assert (await site.present(token, "/do/logout_all", method="POST")).status == 200
            assert (await site.present(token)).user is None
        else:  # asyncpg stays with the first host that answers, which is the standby
            assert await ask_all(site, token, "/me", 20) == {(503, None): 20}
    dsn = pair.dsn if owner == "our pool" else f"{pair.dsn}&target_session_attrs=primary"
    async with serve(dsn, owner) as site:
        await eventually(lambda: is_up(site))
        token = await site.login()
        assert (await site.present(token)).user == "ada"


@pytest.mark.threat("DB-17")
async def test_standby_says_so_with_every_check(pair: Pair) -> None:
    """A check refuses a standby's answer also where a pooler hides what the server is."""
    async with visit(make_app(pair.primary.dsn)):
        await pair.caught_up()
    connection = await asyncpg.connect(pair.standby.dsn)
    async with connected(pair.primary.dsn) as parts:
        with pytest.raises(NotPrimary):
            await parts.rows.changed_on(connection, [SESSION_ID], [1])
    await connection.close()


@pytest.mark.threat("DB-17")
async def test_nothing_is_read_from_a_standby(pair: Pair) -> None:
    """A list from an application's pool that leads to a standby is an error, for its rows may be old."""
    async with visit(make_app(pair.primary.dsn)):
        await pair.caught_up()
    async with asyncpg.create_pool(pair.standby.dsn, min_size=0) as pool, connected(pool) as parts:
        with pytest.raises(StoreUnavailable):
            await parts.store.list_for_user("ada")


@pytest.mark.threat("DB-17")
async def test_promoted_server_is_asked_again(pair: Pair) -> None:
    """A process that knows a standby only goes on by itself when that is promoted."""
    async with visit(make_app(pair.primary.dsn)) as site:
        token = await site.login()
    await pair.caught_up()
    async with serve(pair.standby.dsn, "our pool", store_timeout=timedelta(seconds=1)) as site:
        assert (await site.present(token)).status == 503
        await on(pair.standby, "select pg_promote()")
        await eventually(lambda: knows(site, token))
        assert (await site.present(token)).user == "ada"


@pytest.mark.threat("DB-17")
@pytest.mark.parametrize("wish", ["standby", "prefer-standby", "read-only"])
async def test_dsn_that_asks_for_a_standby_is_refused(wish: str) -> None:
    """A DSN that leads to a standby is a mistake in the configuration, and is said at start-up."""
    database = unconnected()
    with pytest.raises(ConfigError, match="target_session_attrs"):
        await database.connect(f"postgresql://a,b/x?target_session_attrs={wish}")
