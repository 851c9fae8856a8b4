"""Steps that the tests of rotation over HTTP share."""

from dataclasses import replace
from typing import Any

import asyncpg

from aiosess import events
from tests.world.ageing import age, make_due
from tests.world.cookies import read, sign
from tests.world.site import Site
from tests.world.waiting import eventually


async def minted(site: Site, pg: asyncpg.Connection, token: str) -> str:
    """Bring a current token to the point where it gets a successor, and return that."""
    await make_due(pg)
    reply = await site.present(token)
    assert reply.user == "ada"
    assert reply.token
    return reply.token


async def promoted(site: Site, pg: asyncpg.Connection) -> tuple[str, str]:
    """Sign in, rotate once, and return the old and the new token; the new one is not settled yet."""
    old = await site.login()
    new = await minted(site, pg, old)
    reply = await site.present(new)
    assert (reply.user, reply.token) == ("ada", None)
    return old, new


async def settle(site: Site, pg: asyncpg.Connection, token: str) -> None:
    """Present the current token again after the overlap, and see to it that this is noted."""
    await age(pg, 61)
    assert (await site.present(token)).user == "ada"
    await site.installation.upkeep.flush()
    # The marks may have been on their way already.
    await eventually(lambda: pg.fetchval("select settled_at is not null from aiosess_sessions"))


async def row(pg: asyncpg.Connection) -> dict[str, Any]:
    """Return the only session's row, as it is."""
    (record,) = await pg.fetch("select * from aiosess_sessions")
    return dict(record)


def of_kind(happened: list[events.Event], kind: type[events.Event]) -> list[Any]:
    """Return the events of one kind."""
    return [event for event in happened if isinstance(event, kind)]


def sibling(token: str) -> str:
    """Return another token of the same generation."""
    return sign(replace(read(token), id="AAAAAAAAAAA"))
