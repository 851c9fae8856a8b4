"""The rotation table over HTTP: every verdict, lost and reordered responses, theft, what rotation never outlives."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count, pairwise
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from aiosess import events
from aiosess._token.keys import Keyring
from aiosess._token.token import new_token
from tests.rotation.routes import ROUTES
from tests.world.ageing import age, make_due
from tests.world.app import NEW_SECRET, SECRET, make_app
from tests.world.cookies import read, sign
from tests.world.databases import cut_connections
from tests.world.site import Site, visit
from tests.world.waiting import Gate, eventually, somebody_waits
from tests.world.wire import NAVIGATION, Reply, request_bytes

pytestmark = pytest.mark.site(*ROUTES)

ENDINGS = {
    "revoked": "delete from aiosess_sessions",
    "expired": "update aiosess_sessions set expires_at = now() - interval '1 second'",
}


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


async def restore(pg: asyncpg.Connection) -> None:
    """Put the rows back as they were at the backup; every connection is cut, as when a server is restored."""
    await pg.execute("delete from aiosess_sessions; insert into aiosess_sessions select * from backup")
    await cut_connections(pg)


def of_kind(happened: list[events.Event], kind: type[events.Event]) -> list[Any]:
    """Return the events of one kind."""
    return [event for event in happened if isinstance(event, kind)]


# The table, line by line


async def test_current_token_is_accepted_and_kept(site: Site, pg: asyncpg.Connection) -> None:
    """The current token is accepted, nothing is written and no cookie goes out."""
    token = await site.login()
    before = await row(pg)
    reply = await site.present(token)
    assert (reply.user, reply.token) == ("ada", None)
    await site.installation.upkeep.flush()
    assert await row(pg) == before


async def test_first_token_needs_no_settling(site: Site, pg: asyncpg.Connection) -> None:
    """A login's token counts as settled from the start: no other token of the session may come instead."""
    await site.login()
    assert (await row(pg))["settled_at"] is not None


@pytest.mark.parametrize(("seconds", "settles"), [(0, False), (50, False), (61, True)])
async def test_current_token_settles_after_the_overlap(
    site: Site, pg: asyncpg.Connection, seconds: float, *, settles: bool
) -> None:
    """A promoted token that is presented again is settled once the overlap has passed, and not before."""
    _, new = await promoted(site, pg)
    await age(pg, seconds)
    assert (await site.present(new)).user == "ada"
    await site.close()  # writes what is pending
    assert ((await row(pg))["settled_at"] is not None) is settles


async def test_due_token_gets_a_successor(site: Site, pg: asyncpg.Connection) -> None:
    """After rotate_every a successor of the same session and secret goes out; the row's token stays what it was."""
    token = await site.login()
    successor = await minted(site, pg, token)
    old, new = read(token), read(successor)
    assert (new.session_id, new.secret, new.version, new.parent_id) == (old.session_id, old.secret, 2, old.id)
    assert new.id != old.id
    assert new.expires_at == old.expires_at
    after = await row(pg)
    assert (after["version"], after["token_id"]) == (1, old.id)
    assert after["mint_until"] is not None


@pytest.mark.parametrize(
    ("promoted_ago", "settled_ago", "mints"),
    [(890, 890, False), (910, 890, True), (910, 50, False), (910, 70, True), (910, None, False)],
)
async def test_when_a_successor_is_due(
    site: Site,
    pg: asyncpg.Connection,
    promoted_ago: int,
    settled_ago: int | None,
    *,
    mints: bool,
) -> None:
    """A successor is due when the token is settled for the overlap and was promoted rotate_every ago."""
    token = await site.login()
    await pg.execute(
        """
        update aiosess_sessions set
            promoted_at = now() - $1 * interval '1 second', settled_at = now() - $2 * interval '1 second'
        """,
        promoted_ago,
        settled_ago,
    )
    reply = await site.present(token)
    assert reply.user == "ada"
    assert (reply.token is not None) is mints


async def test_time_alone_makes_a_successor_due(dsn: str, pg: asyncpg.Connection) -> None:
    """A token that comes again and again is judged anew when its time has come, though nobody changes the row."""
    brief = timedelta(milliseconds=50)
    async with visit(make_app(dsn, late_window=brief, rotation_overlap=brief, rotate_every=brief * 20)) as site:
        token = await site.login()
        before = await row(pg)
        assert (await site.present(token)).token is None

        sent: list[str] = []

        async def is_sent_a_successor() -> bool:
            sent.extend(filter(None, [(await site.present(token)).token]))
            return bool(sent)

        await eventually(is_sent_a_successor)
        assert (await row(pg))["token_id"] == before["token_id"]
        (new,) = sent
        assert (await site.present(new)).user == "ada"

        async def is_settled() -> bool:
            assert (await site.present(new)).user == "ada"
            await site.installation.upkeep.flush()
            settled_at: datetime | None = (await row(pg))["settled_at"]
            return settled_at is not None

        await eventually(is_settled)


@pytest.mark.parametrize(
    "options",
    [
        {"touch_interval": timedelta(milliseconds=50)},
        dict.fromkeys(["touch_interval", "idle_timeout"], timedelta(0, 3)),
    ],
    ids=["touch_interval", "idle_timeout"],
)
async def test_time_alone_makes_last_activity_due(
    dsn: str, pg: asyncpg.Connection, options: dict[str, timedelta]
) -> None:
    """A token that comes again and again moves last_active_at once touch_interval, or a quarter of idle, is over."""
    async with visit(make_app(dsn, **options)) as site:
        token = await site.login()
        before: datetime = (await row(pg))["last_active_at"]

        async def is_touched() -> bool:
            assert (await site.present(token)).user == "ada"
            await site.installation.upkeep.flush()
            now: datetime = (await row(pg))["last_active_at"]
            return now > before

        await eventually(is_touched)


@pytest.mark.threat("SES-06")
async def test_successor_is_promoted_when_presented(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A successor that comes for the first time becomes current, the old one retires; limits and lease do not move."""
    token = await site.login()
    successor = await minted(site, pg, token)
    before = await row(pg)
    reply = await site.present(successor)
    assert (reply.user, reply.token) == ("ada", None)
    old, new, after = read(token), read(successor), await row(pg)
    assert (after["version"], after["token_id"], after["parent_id"]) == (2, new.id, old.id)
    assert after["settled_at"] is None
    assert all(after[until] == before[until] is not None for until in ("mint_until", "holder_until"))
    assert [entry[0] for entry in json.loads(after["retired"])] == [old.id]
    assert after["ends_at"] == before["ends_at"]
    assert [(event.cause, event.user_id) for event in of_kind(happened, events.Rotated)] == [("automatic", "ada")]


async def test_late_token_is_accepted_without_rights(site: Site, pg: asyncpg.Connection) -> None:
    """A token that retired lately still gets in, but is never fresh and gets no successor."""
    old, new = await promoted(site, pg)
    await pg.execute("update aiosess_sessions set authenticated_at = now(), mint_until = null")
    assert json.loads((await site.present(new, "/fresh")).body) == {"user": "ada", "fresh": True}
    reply = await site.present(old, "/fresh")
    assert json.loads(reply.body) == {"user": "ada", "fresh": False}
    assert reply.token is None
    assert (await row(pg))["mint_until"] is None


@pytest.mark.threat("ROT-04")
async def test_late_token_cannot_take_the_session(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A copy of a replaced token cannot rotate() the session away from its owner; a new proof of who asks can."""
    old, new = await promoted(site, pg)
    reply = await site.present(old, "/do/rotate", method="POST")
    assert (reply.status, reply.token) == (401, None)
    assert (await site.present(new)).user == "ada"
    assert (await site.present(old, "/do/reauthenticated", method="POST")).token
    assert [event.cause for event in of_kind(happened, events.Rotated)] == ["automatic", "reauthenticated"]


async def test_late_token_is_late_for_the_late_window(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A settled session accepts the old token for late_window, and takes it for a copy afterwards."""
    old, new = await promoted(site, pg)
    await settle(site, pg, new)
    await age(pg, 500)
    assert (await site.present(old)).user == "ada"
    await age(pg, 60)
    assert (await site.present(old)).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1


@pytest.mark.threat("ROT-10")
async def test_rollback_goes_on_after_a_crash(site: Site, pg: asyncpg.Connection) -> None:
    """A browser that crashed before its cookie was on disk comes with the parent, and gets another successor."""
    old, new = await promoted(site, pg)
    await age(pg, 86_400)
    reply = await site.present(old)
    assert reply.user == "ada"
    assert reply.token
    assert reply.token != new
    assert read(reply.token).parent_id == read(old).id
    assert (await site.present(reply.token)).user == "ada"
    assert (await row(pg))["token_id"] == read(reply.token).id


@pytest.mark.threat("ROT-10")
@pytest.mark.parametrize("settled", [False, True])
async def test_both_branches_after_a_crash_are_theft(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], *, settled: bool
) -> None:
    """When the branch that the crash is said to have lost shows up later, two parties hold the session: both go."""
    old, lost = await promoted(site, pg)
    await age(pg, 86_400)
    kept = (await site.present(old)).token
    assert kept
    assert (await site.present(kept)).user == "ada"
    if settled:
        await settle(site, pg, kept)
    await age(pg, 601)
    assert (await site.present(lost)).user is None
    assert (await site.present(kept)).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1


async def test_rollback_mints_under_the_lease(site: Site, pg: asyncpg.Connection) -> None:
    """Twenty parallel requests of a browser that crashed get one successor among them."""
    old, _ = await promoted(site, pg)
    await age(pg, 86_400)
    replies = await asyncio.gather(*(site.present(old) for _ in range(20)))
    assert {reply.user for reply in replies} == {"ada"}
    assert len([reply for reply in replies if reply.token]) == 1


async def test_sibling_takes_over(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """Of two successors of one token the one that is presented last becomes current, and the other one retires."""
    token = await site.login()
    first = await minted(site, pg, token)
    await age(pg, 601)
    second = (await site.present(token)).token
    assert second
    assert (await site.present(first)).user == "ada"
    assert (await site.present(second)).user == "ada"
    after = await row(pg)
    assert (after["version"], after["token_id"]) == (2, read(second).id)
    assert after["parent_id"] == read(token).id
    assert read(first).id in [entry[0] for entry in json.loads(after["retired"])]
    assert len(of_kind(happened, events.Rotated)) == 2


async def test_settled_token_has_no_siblings(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """Once one successor is settled, another one of the same parent is a copy's: the session ends."""
    old, new = await promoted(site, pg)
    await settle(site, pg, new)
    assert (await site.present(sign(read(old).successor()))).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 0


@pytest.mark.threat("ROT-05")
@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_restored_older_row_heals(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], lost: int
) -> None:
    """When the database goes back in time by some rotations, the newest token moves the row forward again."""
    token = await site.login()
    await pg.execute("create temp table backup as select * from aiosess_sessions")
    for _ in range(lost):
        token = await minted(site, pg, token)
        assert (await site.present(token)).user == "ada"
    await restore(pg)
    assert (await site.present(token)).user == "ada"
    after = await row(pg)
    assert (after["version"], after["token_id"]) == (1 + lost, read(token).id)
    # One lost promotion looks like a promotion, and needs no alarm.
    assert len(of_kind(happened, events.WentBack)) == (lost > 1)
    await settle(site, pg, token)
    assert (await site.present(await minted(site, pg, token))).user == "ada"


@pytest.mark.threat("ROT-05")
async def test_restored_session_can_be_ended(site: Site, pg: asyncpg.Connection) -> None:
    """A session whose end was lost with the database's last minutes is live again, and can be ended again."""
    token = await site.login()
    await pg.execute("create temp table backup as select * from aiosess_sessions")
    await site.store.revoke(read(token).session_id)
    assert (await site.present(token)).user is None
    await restore(pg)

    async def is_back() -> bool:
        return (await site.present(token)).user == "ada"

    await eventually(is_back)  # the end was remembered until the loss of the connections is noticed
    await site.store.revoke(read(token).session_id)
    assert (await site.present(token)).user is None


@pytest.mark.threat("ROT-05")
async def test_going_back_is_told_once(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """Ten parallel requests with a token from the database's future move the row once and make one event."""
    token = read(await site.login())
    future = sign(token.successor().successor().successor())
    replies = await asyncio.gather(*(site.present(future) for _ in range(10)))
    assert {reply.user for reply in replies} == {"ada"}
    (event,) = of_kind(happened, events.WentBack)
    assert event.session_id == token.session_id
    assert (await row(pg))["version"] == 4


@pytest.mark.threat("ROT-04")
async def test_reuse_ends_the_session_and_says_so_once(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Ten parallel presentations of an old token end the session once, with one event that describes the presenter."""
    old, new = await promoted(site, pg)
    await settle(site, pg, new)
    await age(pg, 600)
    thief = b"User-Agent: curl/8.16.0"
    replies = await asyncio.gather(*(site.present(old, "/me", thief) for _ in range(10)))
    assert {reply.user for reply in replies} == {None}
    assert {reply.token for reply in replies} == {None}
    (event,) = of_kind(happened, events.ReuseDetected)
    assert (event.user_id, event.session_id) == ("ada", read(old).session_id)
    assert (event.presenter.device_name, event.presenter.user_agent) == ("curl", "curl/8.16.0")
    assert event.presenter.ip == "127.0.0.1"
    assert event.origin.device_name != "curl"
    assert await pg.fetchval("select count(*) from aiosess_sessions") == 0
    assert (await site.present(new)).user is None
    assert of_kind(happened, events.Revoked) == []


@pytest.mark.threat("ROT-04")
async def test_thief_and_owner_cannot_both_go_on(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """When a thief rotates a copied cookie and goes on, the owner's next request after the late window ends both."""
    stolen = await site.login()
    thiefs = await minted(site, pg, stolen)
    assert (await site.present(thiefs)).user == "ada"
    await settle(site, pg, thiefs)
    await age(pg, 601)
    assert (await site.present(stolen)).user is None
    assert (await site.present(thiefs)).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1


OWNER = (b"User-Agent: owner", b"X-Forwarded-For: 192.0.2.1")
THIEF = (b"User-Agent: thief", b"X-Forwarded-For: 198.51.100.2")
OWNERS, THIEFS = ("192.0.2.1", "owner"), ("198.51.100.2", "thief")


@pytest.fixture
async def proxied(dsn: str, happened: list[events.Event]) -> AsyncIterator[Site]:
    """Run an application behind a proxy."""
    async with visit(make_app(dsn, on_event=happened.append, trusted_proxies=("127.0.0.1",))) as site:
        yield site


async def places_of_reuse(
    site: Site, happened: list[events.Event], token: str, who: tuple[bytes, ...]
) -> list[tuple[str | None, str]]:
    """Present a token that gives two parties away; return the addresses and devices of presenter, other and login."""
    assert (await site.present(token, "/me", *who)).user is None
    (event,) = of_kind(happened, events.ReuseDetected)
    return [(place.ip, place.user_agent) for place in (event.presenter, event.other, event.origin)]


def sibling(token: str) -> str:
    """Return another token of the same generation."""
    return sign(replace(read(token), id="AAAAAAAAAAA"))


@pytest.mark.threat("ROT-04")
@pytest.mark.parametrize("first", ["thief", "owner"])
async def test_reuse_tells_both_places(
    proxied: Site, pg: asyncpg.Connection, happened: list[events.Event], first: str
) -> None:
    """Whoever of the two rotates first, the alarm names who came with the old token and who went on with the new."""
    ahead, behind = (THIEF, OWNER) if first == "thief" else (OWNER, THIEF)
    stolen = (await proxied.present("none", "/login/ada", *OWNER, method="POST")).token or ""
    await make_due(pg)
    new = (await proxied.present(stolen, "/me", *ahead)).token or ""
    assert (await proxied.present(new, "/me", *ahead)).user == "ada"
    await settle(proxied, pg, new)
    await age(pg, 601)
    places = await places_of_reuse(proxied, happened, stolen, behind)
    assert places == ([OWNERS, THIEFS, OWNERS] if first == "thief" else [THIEFS, OWNERS, OWNERS])


@pytest.mark.threat("ROT-04")
@pytest.mark.parametrize("way", ["login", "rotate", "reauthenticated"])
async def test_reuse_of_a_token_that_was_never_promoted(proxied: Site, happened: list[events.Event], way: str) -> None:
    """Of a token that a login or a rotation on purpose made, the other place is where that was asked for."""
    current = (await proxied.present("none", "/login/ada", *OWNER, method="POST")).token or ""
    if way != "login":
        current = (await proxied.present(current, f"/do/{way}", *THIEF, method="POST")).token or ""
    places = await places_of_reuse(proxied, happened, sibling(current), (b"User-Agent: third",))
    assert places == [("127.0.0.1", "third"), OWNERS if way == "login" else THIEFS, OWNERS]


@pytest.mark.threat("ROT-04")
async def test_reuse_in_a_row_from_before_the_migration(
    proxied: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """While it is unknown where a token was promoted from, the other place is the login's."""
    old = (await proxied.present("none", "/login/ada", *OWNER, method="POST")).token or ""
    await make_due(pg)
    new = (await proxied.present(old, "/me", *THIEF)).token or ""
    assert (await proxied.present(new, "/me", *THIEF)).user == "ada"
    await settle(proxied, pg, new)
    await age(pg, 601)
    await pg.execute("update aiosess_sessions set promoted_ip = null, promoted_user_agent = null")
    assert await places_of_reuse(proxied, happened, old, THIEF) == [THIEFS, OWNERS, OWNERS]


@pytest.mark.threat("ROT-04")
async def test_reuse_tells_a_place_without_user_agent(
    proxied: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Who promoted a token and named no device is told by the address, and not taken for the login."""
    old = (await proxied.present("none", "/login/ada", *OWNER, method="POST")).token or ""
    await make_due(pg)
    new = (await proxied.present(old, "/me", THIEF[1])).token or ""
    assert (await proxied.present(new, "/me", THIEF[1])).user == "ada"
    await settle(proxied, pg, new)
    await age(pg, 601)
    assert await places_of_reuse(proxied, happened, old, OWNER) == [OWNERS, (THIEFS[0], ""), OWNERS]


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


async def test_row_that_keeps_changing_is_unknown(empty_dsn: str, happened: list[events.Event]) -> None:
    """A compare-and-set that misses is judged again three times, then it is unknown who asks: 503, cookie kept."""
    connection = await asyncpg.connect(empty_dsn)
    async with visit(make_app(empty_dsn, on_event=happened.append)) as site:
        token = await site.login()
        successor = await minted(site, connection, token)
        await connection.execute(
            """
            create table tries (n int);
            create function miss() returns trigger language plpgsql as
            $$ begin insert into tries values (1); return null; end $$;
            create trigger a_miss before update on aiosess_sessions for each row execute function miss()
            """
        )
        reply = await site.present(successor, "/me", *NAVIGATION)
        assert (reply.status, reply.token) == (503, None)
        assert await connection.fetchval("select count(*) from tries") == 3
        assert of_kind(happened, events.Rotated) == []
        await connection.execute("drop trigger a_miss on aiosess_sessions")
        assert (await site.present(successor)).user == "ada"
    await connection.close()


# When a successor goes out


@pytest.mark.threat("ROT-08")
async def test_minting_waits_for_the_headers(site: Site, pg: asyncpg.Connection, gate: Gate) -> None:
    """Nothing is minted while the handler runs: the successor is made when the headers are about to go out."""
    token = await site.login()
    await make_due(pg)
    response = asyncio.create_task(site.present(token, "/gate"))
    await gate.entered.wait()
    assert (await row(pg))["mint_until"] is None
    gate.opened.set()
    reply = await response
    assert reply.token
    assert (await row(pg))["mint_until"] is not None


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/fail", ()),
        ("/fail?status=500", ()),
        ("/fail?status=503", ()),
        ("/me", (b"Sec-Purpose: prefetch",)),
        ("/me", (b"Sec-Purpose: prefetch;prerender",)),
        ("/cached?control=public,+max-age%3D60", ()),
        ("/cached?control=Public", ()),
        ("/cached?control=max-age%3D31536000,+immutable", ()),
    ],
)
async def test_some_responses_carry_no_successor(
    site: Site, pg: asyncpg.Connection, target: str, headers: tuple[bytes, ...]
) -> None:
    """A server's error, a prefetch and a response for shared caches get no successor and leave the lease free."""
    token = await site.login()
    await make_due(pg)
    assert (await site.present(token, target, *headers)).token is None
    assert (await row(pg))["mint_until"] is None
    assert (await site.present(token)).token


async def test_private_response_carries_a_successor(site: Site, pg: asyncpg.Connection) -> None:
    """A response that only the user's own browser may keep does get the successor, and is then not stored."""
    token = await site.login()
    await make_due(pg)
    reply = await site.present(token, "/cached?control=private,+max-age%3D60")
    assert reply.token
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.threat("ROT-01")
async def test_parallel_requests_get_one_successor(site: Site, pg: asyncpg.Connection) -> None:
    """Fifty parallel requests at the due time are all accepted, and one of them brings the successor."""
    token = await site.login()
    await make_due(pg)
    replies = await asyncio.gather(*(site.present(token) for _ in range(50)))
    assert Counter(reply.user for reply in replies) == {"ada": 50}
    assert len([reply for reply in replies if reply.token]) == 1


@pytest.mark.threat("ROT-01")
async def test_two_installations_mint_once(site: Site, pg: asyncpg.Connection, dsn: str) -> None:
    """Two installations that share only the database mint one successor for fifty requests between them."""
    token = await site.login()
    async with visit(make_app(dsn)) as other:
        assert (await other.present(token)).user == "ada"
        await make_due(pg)
        replies = await asyncio.gather(*((site, other)[n % 2].present(token) for n in range(50)))
        assert Counter(reply.user for reply in replies) == {"ada": 50}
        (successor,) = [reply.token for reply in replies if reply.token]
        users = await asyncio.gather(*((site, other)[n % 2].present(successor) for n in range(50)))
        assert {reply.user for reply in users} == {"ada"}
        assert (await row(pg))["version"] == 2


@pytest.mark.threat("ROT-02")
@pytest.mark.parametrize("presented", [(0, 1), (1, 0), (0, 1, 0), (1, 0, 1), (0, 1, 0, 1)])
async def test_successors_minted_twice_converge(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], presented: tuple[int, ...]
) -> None:
    """Two successors of one token whose responses come in any order leave the browser signed in with either."""
    token = await site.login()
    first = await minted(site, pg, token)
    await age(pg, 601)
    second = (await site.present(token)).token
    assert second
    for choice in presented:
        assert (await site.present((first, second)[choice])).user == "ada"
    kept = sign(read((first, second)[presented[-1]]))
    for _ in range(3):
        assert (await site.present(kept)).user == "ada"
        await age(pg, 30)
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-03")
@pytest.mark.parametrize(("seconds", "mints"), [(1, False), (120, False), (601, True), (259_200, True)])
async def test_lost_successor_logs_nobody_out(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], seconds: int, *, mints: bool
) -> None:
    """When the response with the successor is lost, the old token goes on, and gets another after the lease."""
    token = await site.login()
    await minted(site, pg, token)
    await age(pg, seconds)
    reply = await site.present(token)
    assert reply.user == "ada"
    assert (reply.token is not None) is mints
    if reply.token:
        assert (await site.present(reply.token)).user == "ada"
        assert (await row(pg))["token_id"] == read(reply.token).id
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-03")
async def test_losing_every_other_response_logs_nobody_out(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A browser that loses every second response goes on through ten rotations."""
    token = await site.login()
    for _ in range(10):
        await minted(site, pg, token)  # lost
        await age(pg, 601)
        reply = await site.present(token)
        assert reply.token
        token = reply.token
        assert (await site.present(token)).user == "ada"  # lost, too, but what it had to say is in the row
    assert (await row(pg))["version"] == 11
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-08")
async def test_a_second_upload_is_not_taken_for_a_copy(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Two buffered uploads, one with the old token and one with its successor, leave only one successor about."""
    old = await site.login()
    successor = await minted(site, pg, old)  # the uploads leave before anything else is sent with it
    await age(pg, 390)
    assert (await site.present(old)).token is None  # the first upload arrives
    await age(pg, 60)
    assert (await site.present(successor)).user == "ada"
    await settle(site, pg, successor)
    await age(pg, 240)
    assert (await site.present(successor)).user == "ada"  # the second one
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-04")
@pytest.mark.parametrize("changes", [False, True], ids=["one User-Agent", "always another"])
async def test_thief_who_throws_successors_away_is_found(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event], *, changes: bool
) -> None:
    """A script that replays a stolen cookie and keeps no new one does not keep the owner from getting one."""
    stolen = await site.login()
    versions = count()

    async def steal() -> Reply:
        return await site.present(stolen, "/me", b"User-Agent: script/%d" % (next(versions) if changes else 1))

    await make_due(pg)
    assert (await steal()).token, "the thief takes the lease"
    assert (await site.present(stolen)).token is None
    for seconds in (121, 241, 481):
        await age(pg, seconds)
        assert (await steal()).token, "again, and again first"
        assert (await site.present(stolen)).token is None
    await age(pg, 61)
    assert (await steal()).token is None
    successor = (await site.present(stolen)).token
    assert successor
    assert (await site.present(successor)).user == "ada"
    await settle(site, pg, successor)
    await age(pg, 601)
    assert (await steal()).user is None
    assert (await site.present(successor)).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1


@pytest.mark.threat("ROT-04")
async def test_promoting_once_makes_nobody_at_home(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A thief who presents a successor once, and then replays the old cookie, does not take the owner's place."""
    stolen = await site.login()
    thief, accomplice = b"User-Agent: thief", b"User-Agent: accomplice"
    await make_due(pg)
    first = (await site.present(stolen, "/me", thief)).token or ""
    assert (await site.present(first, "/me", thief)).user == "ada"
    await age(pg, 601)
    second = (await site.present(stolen, "/me", accomplice)).token or ""
    assert (await site.present(second, "/me", thief)).user == "ada", "a sibling"
    await age(pg, 241)
    assert (await site.present(stolen, "/me", accomplice)).token, "again, and again first"
    await age(pg, 61)
    successor = (await site.present(stolen)).token
    assert successor
    assert (await site.present(successor)).user == "ada"
    await settle(site, pg, successor)
    await age(pg, 601)
    assert (await site.present(stolen, "/me", thief)).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1


@pytest.mark.threat("ROT-04")
async def test_stolen_successor_makes_nobody_at_home(site: Site, pg: asyncpg.Connection) -> None:
    """A thief who presents the owner's successor first, and settles it, is not at home in the session."""
    stolen = await minted(site, pg, await site.login())
    assert (await site.present(stolen, "/me", b"User-Agent: thief")).user == "ada"
    await settle(site, pg, stolen)
    assert (await _moved(site, pg, stolen, b"User-Agent: another thief")).token
    await age(pg, 61)
    assert (await site.present(stolen, "/me", b"User-Agent: yet another")).token is None
    assert (await site.present(stolen)).token, "the owner's turn"


@pytest.mark.threat("ROT-04")
async def test_siblings_run_out(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """Who makes one successor after the other current ends the session before the row forgets that one was."""
    parent = await site.login()
    siblings = [await minted(site, pg, parent), *(sign(read(parent).successor()) for _ in range(8))]
    for sibling in siblings[:8]:
        assert (await site.present(sibling)).user == "ada"
    assert (await site.present(siblings[0])).user == "ada", "late"
    assert (await site.present(siblings[8])).user is None
    assert len(of_kind(happened, events.ReuseDetected)) == 1


@pytest.mark.threat("ROT-03")
async def test_two_addresses_get_no_two_successors_at_once(site: Site, pg: asyncpg.Connection) -> None:
    """After a lost response too, a browser that asks from two addresses at once is given one successor."""
    token = await site.login()
    elsewhere = b"User-Agent: its other address"
    assert (await _moved(site, pg, token, elsewhere)).token, "lost"
    await age(pg, 121)
    assert (await site.present(token, "/me", elsewhere)).token
    assert (await site.present(token)).token is None


async def test_owner_who_moved_is_at_home_when_the_token_has_settled(site: Site, pg: asyncpg.Connection) -> None:
    """A browser that goes on from another address is the holder from the next token that it settles."""
    moved = b"User-Agent: elsewhere"
    successor = (await _moved(site, pg, await site.login(), moved)).token or ""
    assert (await site.present(successor, "/me", moved)).user == "ada"
    await settle(site, pg, successor)
    assert (await _moved(site, pg, successor, moved)).token
    await age(pg, 61)
    assert (await site.present(successor, "/me", moved)).token is None, "the holder waits for longer"


async def test_who_rotates_is_at_home(site: Site, pg: asyncpg.Connection) -> None:
    """The client that calls rotate() is the holder of the new token, wherever the login came from."""
    moved = b"User-Agent: elsewhere"
    token = (await site.present(await site.login(), "/do/rotate", moved, method="POST")).token or ""
    assert (await _moved(site, pg, token, moved)).token
    await age(pg, 61)
    assert (await site.present(token, "/me", moved)).token is None, "the holder waits for longer"


async def _moved(site: Site, pg: asyncpg.Connection, token: str, agent: bytes) -> Reply:
    await make_due(pg)
    return await site.present(token, "/me", agent)


@pytest.mark.threat("ROT-04")
async def test_others_keep_the_holder_waiting_for_each_token(site: Site, pg: asyncpg.Connection) -> None:
    """Two clients of one browser at once get one successor between them, each time that one is due."""
    token = await site.login()
    for _ in range(3):
        await make_due(pg)
        other = await site.present(token, "/me", b"User-Agent: its other address")
        assert other.token
        assert (await site.present(token)).token is None
        token = other.token
        assert (await site.present(token)).user == "ada"
        await settle(site, pg, token)


@pytest.mark.threat("ROT-02", "SES-02")
@pytest.mark.parametrize("target", ["/gate", "/gate?writes"])
@pytest.mark.parametrize("change", ["rotate", "settled"])
async def test_handler_that_was_overtaken_sends_no_successor(
    site: Site, pg: asyncpg.Connection, gate: Gate, change: str, target: str
) -> None:
    """A request that was due when it came, and no longer is when it answers, sends none, also when it has written."""
    token = await site.login()
    await make_due(pg)
    slow = asyncio.create_task(site.present(token, target))
    await gate.entered.wait()
    if change == "rotate":
        new = (await site.present(token, "/do/rotate", method="POST")).token or ""
    else:
        new = (await site.present(token)).token or ""
        assert (await site.present(new)).user == "ada"
        await settle(site, pg, new)
        await age(pg, 601)
    gate.opened.set()
    assert (await slow).token is None
    assert (await site.present(new)).user == "ada"


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


@pytest.mark.threat("ROT-01")
async def test_pipelined_requests_get_one_successor(site: Site, pg: asyncpg.Connection) -> None:
    """Requests pipelined on one connection at the due time bring one successor."""
    token = await site.login()
    await make_due(pg)
    wire = await site.wire()
    await wire.send(*[request_bytes("/me", f"Cookie: __Host-session={token}".encode())] * 10)
    replies = [await wire.read() for _ in range(10)]
    assert {reply.user for reply in replies} == {"ada"}
    assert len([reply for reply in replies if reply.token]) == 1


async def test_store_that_falls_away_puts_off_the_successor(dsn: str, pg: asyncpg.Connection) -> None:
    """A response whose successor cannot be leased goes out without one, and is no error."""
    async with asyncpg.create_pool(dsn) as pool:

        async def last(request: web.Request) -> web.Response:
            assert request["sessions"].user_id == "alice"
            await pool.close()
            return web.Response(text="done")

        async with visit(make_app(dsn, web.get("/last", last), pool=pool)) as site:
            browser = await (await site.browser()).login("alice")
            await make_due(pg)
            response = await browser.get("/last")
            assert (response.status, response.headers.getall("Set-Cookie", [])) == (200, [])


@pytest.mark.threat("ROT-10")
async def test_parent_in_flight_mints_no_third_successor(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A request of a crashed browser's burst that comes after the new successor was presented brings no other one."""
    old, _ = await promoted(site, pg)
    await age(pg, 86_400)
    kept = (await site.present(old)).token
    assert kept
    assert (await site.present(kept)).user == "ada"
    reply = await site.present(old)  # was sent together with the first one
    assert (reply.user, reply.token) == ("ada", None)
    assert of_kind(happened, events.ReuseDetected) == []


@pytest.mark.threat("ROT-10")
async def test_two_crashes_log_nobody_out(site: Site, pg: asyncpg.Connection, happened: list[events.Event]) -> None:
    """A browser that crashes again right after it came back goes on, although a request of its burst was slow."""
    old, _ = await promoted(site, pg)
    await age(pg, 86_400)
    kept = (await site.present(old)).token
    assert kept
    assert (await site.present(kept)).user == "ada"
    newest = (await site.present(old)).token or kept  # was sent together with the first one
    assert (await site.present(newest)).user == "ada"
    await age(pg, 601)
    assert (await site.present(kept)).user == "ada"  # it crashed while only this one was on disk
    assert of_kind(happened, events.ReuseDetected) == []
