"""SessionManager: rotate(), reauthenticated() and is_fresh()."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

import aiosess
from aiosess import SessionManager, events
from tests.web.jobs import MINUTE, Value, job
from tests.world.ageing import age, make_due
from tests.world.browser import Browser
from tests.world.errands import Job
from tests.world.site import Site
from tests.world.waiting import Gate
from tests.world.wire import set_cookies


@pytest.mark.threat("SES-02")
async def test_rotate_kills_the_old_token_at_once(site: Site, alice: Browser, happened: list[events.Event]) -> None:
    """The very next request with the old token is anonymous; the session lives, and no theft is told."""
    old, own_id = alice.token, await alice.session_id()
    await alice.run(lambda s: s.set("key", "kept"))
    await alice.post("/do/rotate")
    copy = await site.browser(old)
    response = await copy.get("/me", headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"})
    assert (await response.json())["user"] is None
    assert not set_cookies(response)
    assert await alice.session_id() == own_id
    assert await alice.run(job(lambda s: (s.user_id, s.get("key")))) == ("alice", "kept")
    assert [(type(event), event.cause) for event in happened if isinstance(event, events.Rotated)] == [
        (events.Rotated, "requested")
    ]
    assert not [event for event in happened if isinstance(event, events.ReuseDetected | events.Revoked)]


@pytest.mark.threat("SES-02")
async def test_rotate_leaves_requests_in_flight_alone(site: Site, alice: Browser, happened: list[events.Event]) -> None:
    """A request that came before rotate() and ends after it neither fails nor touches the new cookie."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(sessions: SessionManager) -> str | None:
        arrived.set()
        await go_on.wait()
        return sessions.user_id

    other_tab = await site.browser(alice.token)
    in_flight = asyncio.create_task(other_tab.run(slow))
    await arrived.wait()
    await alice.post("/do/rotate")
    go_on.set()
    assert await in_flight == "alice"
    assert not set_cookies(other_tab.reply)
    assert await alice.user() == "alice"
    assert not [event for event in happened if isinstance(event, events.ReuseDetected)]


@pytest.mark.threat("SES-02")
async def test_two_rotations_at_once(site: Site, alice: Browser) -> None:
    """Of two requests that rotate one token, one wins; the other is told, and leaves the winner's cookie alone."""
    together = asyncio.Barrier(2)

    async def rotate(sessions: SessionManager) -> None:
        assert sessions.is_authenticated
        await together.wait()
        await sessions.rotate()

    tabs = [alice, await site.browser(alice.token)]
    outcomes = await asyncio.gather(*(tab.run(rotate) for tab in tabs), return_exceptions=True)
    won = outcomes.index(None)
    assert isinstance(outcomes[1 - won], aiosess.SessionRevoked)
    assert not set_cookies(tabs[1 - won].reply)
    assert await tabs[won].user() == "alice"
    assert await tabs[1 - won].user() is None


async def test_rotated_session_goes_on_in_the_same_request(alice: Browser) -> None:
    """After rotate() the request can write and rotate again, and one cookie goes out: the last."""

    async def much(sessions: SessionManager) -> Value:
        await sessions.rotate()
        await sessions.set("key", 1)
        await sessions.rotate()
        return sessions.get("key")

    assert await alice.run(much) == 1
    assert len(set_cookies(alice.reply)) == 1
    assert await alice.user() == "alice"


async def test_reauthenticated_is_fresh_and_rotates(
    site: Site, alice: Browser, happened: list[events.Event], pg: asyncpg.Connection
) -> None:
    """A new proof of who one is moves authenticated_at and ends the old token."""
    await age(pg, 600)
    old = alice.token
    assert await alice.run(job(lambda s: s.is_fresh(MINUTE))) is False

    async def prove(sessions: SessionManager) -> bool:
        await sessions.reauthenticated()
        return sessions.is_fresh(MINUTE)

    assert await alice.run(prove) is True
    assert await alice.run(job(lambda s: s.is_fresh(MINUTE))) is True
    assert await (await site.browser(old)).user() is None
    assert [event.cause for event in happened if isinstance(event, events.Rotated)] == ["reauthenticated"]


async def test_rotate_is_no_proof(alice: Browser, pg: asyncpg.Connection) -> None:
    """rotate() leaves authenticated_at as it was."""
    await age(pg, 3600)
    await alice.post("/do/rotate")
    assert await alice.run(job(lambda s: s.is_fresh(MINUTE))) is False


async def test_is_fresh_looks_at_the_span(alice: Browser, pg: asyncpg.Connection) -> None:
    """Whether a proof is fresh depends on how fresh it has to be."""
    assert await alice.run(job(lambda s: s.is_fresh(MINUTE))) is True
    await age(pg, 600)
    assert await alice.run(job(lambda s: (s.is_fresh(9 * MINUTE), s.is_fresh(11 * MINUTE)))) == (False, True)


async def test_late_token_is_not_fresh(site: Site, alice: Browser, pg: asyncpg.Connection) -> None:
    """A token that has a successor in use is accepted for a while, but for nothing that needs a recent proof."""
    await make_due(pg)
    late = await site.browser(alice.token)
    assert set_cookies(await alice.get("/me"))
    await alice.post("/do/reauthenticated")
    await make_due(pg)
    late = await site.browser(alice.token)
    assert set_cookies(await alice.get("/me"))
    assert await alice.user() == "alice"
    assert await late.run(job(lambda s: (s.user_id, s.is_fresh(timedelta(days=1))))) == ("alice", False)
    assert await alice.run(job(lambda s: s.is_fresh(timedelta(days=1)))) is True


@pytest.mark.threat("ROT-09", "DEV-03")
@pytest.mark.parametrize("write", [lambda s: s.set("key", 1), lambda s: s.remove_key("key")])
async def test_write_with_a_replaced_token_is_not_fresh(
    write: Job, site: Site, alice: Browser, pg: asyncpg.Connection
) -> None:
    """What its owner proved while a slow request ran proves nothing for who sent that with the old token."""
    await age(pg, 600)
    thief = await site.browser(alice.token)
    gate = Gate()

    async def slow(sessions: SessionManager) -> Value:
        before = sessions.is_fresh(MINUTE)
        await gate.wait()
        await write(sessions)
        return before, sessions.user_id, sessions.is_fresh(MINUTE)

    in_flight = asyncio.create_task(thief.run(slow))
    await gate.entered.wait()
    assert (await alice.post("/do/reauthenticated")).status == 200
    gate.opened.set()
    assert await in_flight == (False, "alice", False)
    assert await alice.run(job(lambda s: s.is_fresh(MINUTE))) is True
    assert await thief.user() is None
