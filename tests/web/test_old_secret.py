"""A token whose secret rotate() has replaced: what a sign-in with it ends, and who is told that it still comes."""

import asyncio

import asyncpg
import pytest

import aiosess
from aiosess import SessionManager, events
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.site import Site, visit
from tests.world.wire import set_cookies

LATE = 600  # seconds, the default of late_window


async def robbed(site: Site, way: str = "rotate", times: int = 1) -> tuple[Browser, Browser]:
    """Sign ada in; a thief copies the cookie and replaces the secret. Return the owner and the thief."""
    owner = await (await site.browser()).login("ada")
    thief = await site.browser(owner.token)
    for _ in range(times):
        assert (await thief.post(f"/do/{way}")).status == 200
    assert [await owner.user(), await thief.user()] == [None, "ada"]
    return owner, thief


def kinds(happened: list[events.Event]) -> list[type[events.Event]]:
    """Return the kinds of events, in their order."""
    return [type(event) for event in happened]


# Signing in


@pytest.mark.threat("SES-15")
@pytest.mark.parametrize(
    ("how", "idle"), [(("rotate", 1), 0), (("rotate", 1), LATE), (("rotate", 3), 7200), (("reauthenticated", 1), 0)]
)
async def test_owner_who_signs_in_throws_the_thief_out(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], how: tuple[str, int], idle: int
) -> None:
    """After a thief's rotate() the owner signs in with the old cookie: that ends the session for the thief."""
    owner, thief = await robbed(site, *how)
    stolen = await thief.session_id()
    await age(pg, idle)
    happened.clear()
    await owner.login("ada")
    assert [await owner.user(), await thief.user()] == ["ada", None]
    ended = [(event.session_id, event.reason) for event in happened if isinstance(event, events.Revoked)]
    assert ended == [(stolen, "login")]
    assert await site.store.count() == 1


@pytest.mark.threat("SES-15")
async def test_owner_whose_cookie_was_rotated_since_throws_the_thief_out(site: Site, pg: asyncpg.Connection) -> None:
    """It is the session that counts, and not which of its tokens the owner has."""
    owner = await (await site.browser()).login("ada")
    await make_due(pg)
    thief = await site.browser(owner.token)
    assert await owner.user() == "ada"  # and gets a successor, which nobody has presented
    assert (await thief.post("/do/rotate")).status == 200
    await owner.login("ada")
    assert [await owner.user(), await thief.user()] == ["ada", None]


@pytest.mark.threat("SES-15")
async def test_sign_in_of_somebody_else_ends_nothing(site: Site, happened: list[events.Event]) -> None:
    """An old token of another user's session ends nothing: whoever signs in has proved nothing about that user."""
    owner, _ = await robbed(site)
    other = await site.browser(owner.token)
    await other.login("mallory")
    assert await other.user() == "mallory"
    assert len(await site.store.list_for_user("ada")) == 1
    assert events.Revoked not in kinds(happened)


@pytest.mark.threat("SES-15")
@pytest.mark.site(max_sessions_per_user=2)
async def test_session_that_ends_makes_room(site: Site, happened: list[events.Event]) -> None:
    """The session that the sign-in ends makes the room for the new one, so no other device is evicted."""
    phone = await (await site.browser()).login("ada")
    assert await phone.user() == "ada"
    owner, thief = await robbed(site)
    await owner.login("ada")
    assert [await phone.user(), await owner.user(), await thief.user()] == ["ada", "ada", None]
    assert events.Evicted not in kinds(happened)


@pytest.mark.threat("SES-15")
@pytest.mark.site(max_sessions_per_user=2)
async def test_anothers_session_makes_no_room(site: Site, pg: asyncpg.Connection) -> None:
    """Another user's session, of which the sign-in brings an old token, is not counted as one of this user's."""
    owner, _ = await robbed(site)
    browsers = [await (await site.browser()).login("mallory") for _ in range(2)]
    other = await site.browser(owner.token)
    await other.login("mallory")
    assert await pg.fetchval("select count(*) from aiosess_sessions where user_id = 'mallory'") == 2
    assert [await browsers[0].user(), await other.user()] == [None, "mallory"]


@pytest.mark.threat("SES-15")
async def test_request_that_lost_the_race_may_sign_in(site: Site) -> None:
    """A request whose token another one replaces while it runs signs in: the session that it came with ends."""
    owner = await (await site.browser()).login("ada")
    thief = await site.browser(owner.token)

    async def lose_and_sign_in(sessions: SessionManager) -> None:
        assert sessions.user_id == "ada"
        assert (await thief.post("/do/rotate")).status == 200
        with pytest.raises(aiosess.SessionRevoked):
            await sessions.rotate()
        await sessions.authenticate("ada")

    await owner.run(lose_and_sign_in)
    assert [await owner.user(), await thief.user()] == ["ada", None]
    assert await site.store.count() == 1


async def test_sign_out_with_an_old_secret_ends_nothing(site: Site) -> None:
    """Whoever has an old token cannot sign its session out: that clears the cookie only."""
    owner, thief = await robbed(site)
    assert (await owner.post("/do/logout")).status == 200
    assert owner.token is None
    assert await thief.user() == "ada"


# Who is told


@pytest.mark.threat("SES-15")
async def test_old_secret_is_told_once(dsn: str, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """An old secret after the late window is told of once in the fleet, however often it comes; it ends nothing."""
    options = {"on_event": happened.append}
    async with visit(make_app(dsn, **options)) as site, visit(make_app(dsn, **options)) as other:
        owner, thief = await robbed(site)
        token, session_id = owner.token, await thief.session_id()
        assert token is not None
        assert events.OldSecretPresented not in kinds(happened), "it may have been in flight"
        await age(pg, LATE)
        happened.clear()
        for _ in range(2):
            asked = [each.present(token, "/me", b"User-Agent: curl/8.0") for each in [site, other] * 5]
            for reply in await asyncio.gather(*asked):
                assert (reply.user, set_cookies(reply)) == (None, [])
        assert kinds(happened) == [events.OldSecretPresented]
        (event,) = happened
        assert isinstance(event, events.OldSecretPresented)
        assert (event.session_id, event.user_id, event.presenter.user_agent) == (session_id, "ada", "curl/8.0")
        assert event.origin.user_agent != "curl/8.0"
        assert await thief.user() == "ada", "it ends nothing"


@pytest.mark.threat("SES-15")
async def test_each_replaced_secret_is_told_of(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """When the secret was replaced again, an old one is told of again."""
    owner, thief = await robbed(site)
    for _ in range(2):
        await age(pg, LATE)
        happened.clear()
        assert [await owner.user(), await owner.user()] == [None, None]
        assert kinds(happened) == [events.OldSecretPresented]
        assert (await thief.post("/do/rotate")).status == 200


@pytest.mark.threat("SES-15")
async def test_successor_of_an_old_secret_is_told_of(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A successor that was minted before rotate(), and whose version the row has now too, is an old secret as well."""
    owner = await (await site.browser()).login("ada")
    await make_due(pg)
    thief = await site.browser(owner.token)
    assert await thief.user() == "ada"  # gets a successor and keeps it
    assert thief.token != owner.token
    assert (await owner.post("/do/rotate")).status == 200
    await age(pg, LATE)
    happened.clear()
    assert await thief.user() is None
    assert kinds(happened) == [events.OldSecretPresented]
    assert await owner.user() == "ada"
