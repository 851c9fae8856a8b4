"""Rotation over HTTP, endings: no promotion, successor or write outlives the end of its session."""

import asyncio
from typing import Any

import asyncpg
import pytest

from aiosess import events
from tests.rotation.routes import ROUTES
from tests.rotation.steps import minted, of_kind, promoted, row, settle
from tests.world.ageing import age, make_due
from tests.world.cookies import read
from tests.world.site import Site
from tests.world.waiting import Gate, somebody_waits
from tests.world.wire import NAVIGATION

pytestmark = pytest.mark.site(*ROUTES)
ENDINGS = {
    "revoked": "delete from aiosess_sessions",
    "expired": "update aiosess_sessions set expires_at = now() - interval '1 second'",
}


# What rotation never outlives


@pytest.mark.threat("ROT-06")
@pytest.mark.parametrize("ending", ENDINGS)
async def test_ending_beats_a_waiting_promotion(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], ending: str
) -> None:
    """A successor whose promotion waits for the row while the session ends is anonymous, and stays so."""
    successor = await minted(site, pg, await site.login())
    happened.clear()
    async with pg.transaction():
        await pg.execute(ENDINGS[ending])
        response = asyncio.create_task(site.present(successor))
        await somebody_waits(pg)
    assert (await response).user is None
    assert (await site.present(successor)).user is None
    assert await pg.fetchval("select count(*) from aiosess_sessions where expires_at > now()") == 0
    assert happened == []


@pytest.mark.threat("ROT-06")
@pytest.mark.parametrize("ending", ENDINGS)
async def test_ending_beats_a_waiting_mint(site: Site, pg: asyncpg.Connection, ending: str) -> None:
    """A response that waits for the lease while the session ends carries no successor."""
    token = await site.login()
    await make_due(pg)
    async with pg.transaction():
        await pg.execute(ENDINGS[ending])
        response = asyncio.create_task(site.present(token))
        await somebody_waits(pg)
    assert (await response).token is None
    assert (await site.present(token)).user is None


@pytest.mark.threat("ROT-06")
@pytest.mark.threat("SES-04")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("target", ["/mark", "/do/rotate", "/do/reauthenticated"])
async def test_ending_beats_a_waiting_write(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], target: str, ending: str
) -> None:
    """A write that waits for the row while the session ends is told so: 401, no cookie, and the row is still gone."""
    token = await site.login()
    happened.clear()
    async with pg.transaction():
        await pg.execute(ENDINGS[ending])
        response = asyncio.create_task(site.present(token, target, method="POST"))
        await somebody_waits(pg)
    reply = await response
    assert (reply.status, reply.token) == (401, None)
    assert await pg.fetchval("select count(*) from aiosess_sessions where expires_at > now()") == 0
    assert (await site.present(token)).user is None
    assert happened == []


@pytest.mark.threat("ROT-06")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("mark", ["settled", "touched"])
async def test_ending_beats_pending_marks(site: Site, pg: asyncpg.Connection, ending: str, mark: str) -> None:
    """Marks that are written after a session has ended neither bring it back nor extend it."""
    _, token = await promoted(site, pg)
    if mark == "touched":
        await pg.execute("update aiosess_sessions set settled_at = now()")
    await site.installation.upkeep.flush()
    await age(pg, 600)
    async with pg.transaction():
        # The row is locked, so a flush in the background cannot write the mark before the session ends.
        await pg.execute("select from aiosess_sessions for update")
        assert (await site.present(token)).user == "ada"
        await pg.execute(ENDINGS[ending])
    await site.installation.upkeep.flush()
    assert await pg.fetchval("select count(*) from aiosess_sessions where expires_at > now()") == 0
    assert (await site.present(token)).user is None


WRITES = {
    "promotion": """
        update aiosess_sessions set version = 2, token_id = 'AAAAAAAAAAA', parent_id = token_id,
        promoted_at = now(), settled_at = null
    """,
    "minting": "update aiosess_sessions set mint_until = now() + interval '1 minute'",
    "touch": "update aiosess_sessions set last_active_at = now(), expires_at = now() + interval '30 days'",
    "data": """update aiosess_sessions set data = '{"key": "value"}'""",
    "rotation": "update aiosess_sessions set version = 2, token_id = 'AAAAAAAAAAA', secret_hash = sha256('other')",
}


@pytest.mark.threat("ROT-06")
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("way", ["revoke", "revoke_user", "logout", "logout_all"])
async def test_ending_that_waits_for_a_write_ends(site: Site, pg: asyncpg.Connection, write: str, way: str) -> None:
    """A revocation or logout that meets another request's write of the row waits for it, and then ends the session."""
    token = await site.login()
    ending: dict[str, Any] = {
        "revoke": lambda: site.store.revoke(read(token).session_id),
        "revoke_user": lambda: site.store.revoke_user("ada"),
        "logout": lambda: site.present(token, "/do/logout", method="POST"),
        "logout_all": lambda: site.present(token, "/do/logout_all", method="POST"),
    }
    async with pg.transaction():
        await pg.execute(WRITES[write])
        task = asyncio.create_task(ending[way]())
        await somebody_waits(pg)
    await task
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 0
    assert (await site.present(token)).user is None


@pytest.mark.threat("ROT-06")
async def test_promotion_that_loses_to_another_is_judged_again(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A promotion that waits while a sibling is promoted is judged anew, as the sibling that it now is."""
    token = await site.login()
    first = await minted(site, pg, token)
    await age(pg, 601)
    second = (await site.present(token)).token
    assert second
    async with pg.transaction():
        await pg.execute(
            """
            update aiosess_sessions set version = 2, token_id = $1, parent_id = token_id, promoted_at = now(),
            settled_at = null, retired = jsonb_build_array(jsonb_build_array(token_id, extract(epoch from now())))
            """,
            read(first).id,
        )
        response = asyncio.create_task(site.present(second))
        await somebody_waits(pg)
    assert (await response).user == "ada"
    after = await row(pg)
    assert (after["version"], after["token_id"]) == (2, read(second).id)
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-04")
async def test_reuse_that_loses_to_a_revocation_tells_nothing(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A reuse whose session is ended by somebody else meanwhile makes no second event."""
    old, new = await promoted(site, pg)
    await settle(site, pg, new)
    await age(pg, 601)
    async with pg.transaction():
        await pg.execute("delete from aiosess_sessions")
        response = asyncio.create_task(site.present(old))
        await somebody_waits(pg)
    assert (await response).user is None
    assert of_kind(happened, events.ReuseDetected) == []


# No deletion and no overwriting in passing


@pytest.mark.threat("ROT-11")
@pytest.mark.parametrize("headers", [(), NAVIGATION], ids=["background", "navigation"])
@pytest.mark.parametrize("action", ["/login/ada", "/do/rotate", "/do/reauthenticated", "/do/logout", "/do/logout_all"])
async def test_request_in_flight_leaves_the_newest_cookie_alone(
    site: Site, pg: asyncpg.Connection, gate: Gate, action: str, headers: tuple[bytes, ...]
) -> None:
    """Requests that another tab's login, rotation or logout overtakes set and delete no cookie, whenever they end."""
    token = await site.login()
    await make_due(pg)  # so that they would bring a successor
    in_flight = asyncio.create_task(site.present(token, "/gate", *headers))
    await gate.entered.wait()
    acted = await site.present(token, action, method="POST")
    assert acted.status == 200
    assert acted.token is not None
    overtaken = await site.present(token, "/me", *headers)
    assert (overtaken.user, overtaken.token) == (None, None)
    gate.opened.set()
    assert (await in_flight).token is None
    if acted.token:
        assert (await site.present(acted.token)).user == "ada"


@pytest.mark.threat("ROT-11")
async def test_slow_page_of_a_dead_session_leaves_a_login_alone(site: Site, pg: asyncpg.Connection, gate: Gate) -> None:
    """A tab that asks with a cookie long dead, while another tab signs in, does not take the new cookie away."""
    token = await site.login()
    await pg.execute("delete from aiosess_sessions")
    assert (await site.present(token)).user is None
    page = asyncio.create_task(site.present(token, "/gate", *NAVIGATION))
    await gate.entered.wait()
    fresh = (await site.present(token, "/login/ada", method="POST")).token
    gate.opened.set()
    assert (await page).token is None
    assert fresh
    assert (await site.present(fresh)).user == "ada"
