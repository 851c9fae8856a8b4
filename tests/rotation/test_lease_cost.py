"""What it costs to ask for a successor that somebody else is about to get: nothing."""

import asyncpg
import pytest

from tests.world.ageing import make_due
from tests.world.app import make_app
from tests.world.databases import logged_pool
from tests.world.site import visit

OWNER, OTHER = b"User-Agent: Firefox", b"User-Agent: curl/8.16.0"


def leases(statements: list[str]) -> int:
    """Count the statements that ask for the lease."""
    return len([text for text in statements if "leased_for" in text])


@pytest.mark.parametrize("client", [OWNER, OTHER])
async def test_a_lease_that_is_taken_costs_no_query(client: bytes, dsn: str, pg: asyncpg.Connection) -> None:
    """After a successor was minted, requests with the old token ask for none until the overlap has passed."""
    async with logged_pool(dsn) as (pool, statements), visit(make_app(dsn, pool=pool)) as site:
        token = (await site.present("none", "/login/ada", OWNER, method="POST")).token
        assert token
        await make_due(pg)
        statements.clear()
        assert (await site.present(token, "/me", OWNER)).token
        assert leases(statements) == 1
        replies = [await site.present(token, "/me", client) for _ in range(5)]
        assert [(reply.user, reply.token) for reply in replies] == [("ada", None)] * 5
        assert leases(statements) == 1


async def test_a_holder_that_waits_costs_no_query(dsn: str, pg: asyncpg.Connection) -> None:
    """When the lease is free again for others but not yet for the holder, the holder does not ask for it."""
    async with logged_pool(dsn) as (pool, statements), visit(make_app(dsn, pool=pool)) as site:
        token = (await site.present("none", "/login/ada", OWNER, method="POST")).token
        assert token
        await make_due(pg)
        assert (await site.present(token, "/me", OWNER)).token
        await pg.execute("update aiosess_sessions set mint_until = now()")
        statements.clear()
        replies = [await site.present(token, "/me", OWNER) for _ in range(5)]
        assert [(reply.user, reply.token) for reply in replies] == [("ada", None)] * 5
        assert leases(statements) == 0
        assert (await site.present(token, "/me", OTHER)).token
