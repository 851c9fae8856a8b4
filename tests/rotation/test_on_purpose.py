"""Rotation on purpose over HTTP, and the change of the signing key."""

import asyncio
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from aiosess import events
from aiosess._token.keys import Keyring
from tests.rotation.routes import ROUTES
from tests.rotation.steps import minted, of_kind, row
from tests.world.app import NEW_SECRET, SECRET, make_app
from tests.world.cookies import read
from tests.world.site import Site, visit
from tests.world.waiting import somebody_waits
from tests.world.wire import NAVIGATION

pytestmark = pytest.mark.site(*ROUTES)


# rotate() on purpose


@pytest.mark.threat("SES-02")
async def test_rotate_kills_the_old_token_without_alarm(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """After rotate() the old token is anonymous at once; the session lives, no theft is seen, no cookie is cleared."""
    token = await site.login()
    new = (await site.present(token, "/do/rotate", method="POST")).token
    assert new
    for _ in range(3):
        reply = await site.present(token, "/me", *NAVIGATION)
        assert (reply.user, reply.token) == (None, None)
        assert (await site.present(new)).user == "ada"
    assert read(new).session_id == read(token).session_id
    assert read(new).secret != read(token).secret
    assert of_kind(happened, events.ReuseDetected) == []
    assert [event.cause for event in of_kind(happened, events.Rotated)] == ["requested"]
    assert (await row(pg))["version"] == 2


@pytest.mark.threat("SES-02")
async def test_rotate_kills_successors_too(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """A successor that was minted before rotate() and comes after it is anonymous, without alarm."""
    token = await site.login()
    successor = await minted(site, pg, token)
    new = (await site.present(token, "/do/rotate", method="POST")).token
    assert new
    for dead in (successor, token):
        assert (await site.present(dead)).user is None
    assert (await site.present(new)).user == "ada"
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("SES-02")
async def test_parallel_rotations_make_one(site: Site, pg: asyncpg.Connection) -> None:
    """Of several requests that rotate one token at once, one gets the new token and the others are told no."""
    token = await site.login()
    async with pg.transaction():
        await pg.execute("select from aiosess_sessions for update")
        responses = [asyncio.create_task(site.present(token, "/do/rotate", method="POST")) for _ in range(5)]
        await somebody_waits(pg)
    replies = await asyncio.gather(*responses)
    (new,) = [reply.token for reply in replies if reply.status == 200]
    assert new
    assert {(reply.status, reply.token) for reply in replies if reply.status != 200} <= {(401, None)}
    assert (await site.present(new)).user == "ada"


# Keys


@pytest.mark.threat("KEY-01")
async def test_rolling_key_change_logs_nobody_out(dsn: str, pg: asyncpg.Connection) -> None:
    """A fleet that gets a new key in rolling deployments keeps every session, and ends with the new key only."""
    old, new = SECRET, NEW_SECRET
    deployed: list[Any] = [old, [old, new], [new, old], [new, old], new]
    async with visit(make_app(dsn, secret=old)) as site:
        token = await site.login()
    for before, after in pairwise(deployed):
        # Half of the fleet has been deployed; each request goes to the other half.
        async with visit(make_app(dsn, secret=before)) as one, visit(make_app(dsn, secret=after)) as two:
            for minting, promoting in ((one, two), (two, one)):
                token = await minted(minting, pg, token)
                assert (await promoting.present(token)).user == "ada"
    assert Keyring(new).verify(token, "aiosess").version == 1 + 2 * 4


@pytest.mark.threat("KEY-01")
async def test_old_key_is_gone_when_it_is_dropped(dsn: str) -> None:
    """A token of a key that is no longer listed is anonymous, and costs the session nothing."""
    async with visit(make_app(dsn)) as site:
        token = await site.login()
        async with visit(make_app(dsn, secret=NEW_SECRET)) as other:
            assert (await other.present(token)).user is None
        assert (await site.present(token)).user == "ada"
