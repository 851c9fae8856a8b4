"""Rotation over HTTP, the alarm: whom and what an event about a reused token names, and what raises none."""

from dataclasses import replace

import asyncpg
import pytest

from aiosess import events
from aiosess._token.token import new_token
from tests.rotation.routes import ROUTES
from tests.rotation.steps import of_kind, promoted, row, settle, sibling
from tests.world.ageing import age, make_due
from tests.world.cookies import read, sign
from tests.world.site import Site
from tests.world.wire import NAVIGATION

pytestmark = pytest.mark.site(*ROUTES, trusted_proxies=("127.0.0.1",))

OWNER = (b"User-Agent: owner", b"X-Forwarded-For: 192.0.2.1")
THIEF = (b"User-Agent: thief", b"X-Forwarded-For: 198.51.100.2")


OWNERS, THIEFS = ("192.0.2.1", "owner"), ("198.51.100.2", "thief")


async def places_of_reuse(
    site: Site, happened: list[events.Event], token: str, who: tuple[bytes, ...]
) -> list[tuple[str | None, str]]:
    """Present a token that gives two parties away; return the addresses and devices of presenter, other and login."""
    assert (await site.present(token, "/me", *who)).user is None
    (event,) = of_kind(happened, events.ReuseDetected)
    return [(place.ip, place.user_agent) for place in (event.presenter, event.other, event.origin)]


@pytest.mark.threat("ROT-04")
@pytest.mark.parametrize("first", ["thief", "owner"])
async def test_reuse_tells_both_places(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], first: str
) -> None:
    """Whoever of the two rotates first, the alarm names who came with the old token and who went on with the new."""
    ahead, behind = (THIEF, OWNER) if first == "thief" else (OWNER, THIEF)
    stolen = (await site.present("none", "/login/ada", *OWNER, method="POST")).token or ""
    await make_due(pg)
    new = (await site.present(stolen, "/me", *ahead)).token or ""
    assert (await site.present(new, "/me", *ahead)).user == "ada"
    await settle(site, pg, new)
    await age(pg, 601)
    places = await places_of_reuse(site, happened, stolen, behind)
    assert places == ([OWNERS, THIEFS, OWNERS] if first == "thief" else [THIEFS, OWNERS, OWNERS])


@pytest.mark.threat("ROT-04")
@pytest.mark.parametrize("way", ["login", "rotate", "reauthenticated"])
async def test_reuse_of_a_token_that_was_never_promoted(site: Site, happened: list[events.Event], way: str) -> None:
    """Of a token that a login or a rotation on purpose made, the other place is where that was asked for."""
    current = (await site.present("none", "/login/ada", *OWNER, method="POST")).token or ""
    if way != "login":
        current = (await site.present(current, f"/do/{way}", *THIEF, method="POST")).token or ""
    places = await places_of_reuse(site, happened, sibling(current), (b"User-Agent: third",))
    assert places == [("127.0.0.1", "third"), OWNERS if way == "login" else THIEFS, OWNERS]


@pytest.mark.threat("ROT-04")
async def test_reuse_in_a_row_from_before_the_migration(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """While it is unknown where a token was promoted from, the other place is the login's."""
    old = (await site.present("none", "/login/ada", *OWNER, method="POST")).token or ""
    await make_due(pg)
    new = (await site.present(old, "/me", *THIEF)).token or ""
    assert (await site.present(new, "/me", *THIEF)).user == "ada"
    await settle(site, pg, new)
    await age(pg, 601)
    await pg.execute("update aiosess_sessions set promoted_ip = null, promoted_user_agent = null")
    assert await places_of_reuse(site, happened, old, THIEF) == [THIEFS, OWNERS, OWNERS]


@pytest.mark.threat("ROT-04")
async def test_reuse_tells_a_place_without_user_agent(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Who promoted a token and named no device is told by the address, and not taken for the login."""
    old = (await site.present("none", "/login/ada", *OWNER, method="POST")).token or ""
    await make_due(pg)
    new = (await site.present(old, "/me", THIEF[1])).token or ""
    assert (await site.present(new, "/me", THIEF[1])).user == "ada"
    await settle(site, pg, new)
    await age(pg, 601)
    assert await places_of_reuse(site, happened, old, OWNER) == [OWNERS, (THIEFS[0], ""), OWNERS]


@pytest.mark.threat("KEY-03")
@pytest.mark.parametrize("steps", [0, 1, 2, 50])
async def test_signing_key_alone_forges_nothing(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], steps: int
) -> None:
    """A token with the right key, session, version and id, but another secret, is anonymous and ends nothing."""
    token = await site.login()
    await make_due(pg)
    before, real = await row(pg), read(token)
    guess = new_token(real.session_id, 1, before["ends_at"])
    forged = replace(real, secret=guess.secret, secret_hash=guess.secret_hash)
    for _ in range(steps):
        forged = forged.successor()
    happened.clear()
    reply = await site.present(sign(forged), "/me", *NAVIGATION)
    assert (reply.user, reply.token) == (None, None)
    await site.installation.upkeep.flush()
    assert await row(pg) == before
    assert happened == []
    assert (await site.present(token)).user == "ada"


@pytest.mark.threat("KEY-03")
async def test_forged_old_token_raises_no_alarm(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A forged token that would be a reuse, were its secret right, ends nothing."""
    old, new = await promoted(site, pg)
    await settle(site, pg, new)
    await age(pg, 601)
    guess = new_token(read(old).session_id, 1, (await row(pg))["ends_at"])
    forged = sign(replace(read(old), secret=guess.secret, secret_hash=guess.secret_hash))
    assert (await site.present(forged)).user is None
    assert (await site.present(new)).user == "ada"
    assert of_kind(happened, events.ReuseDetected) == []
