"""Rotation over HTTP, the verdicts: what each line of the table does with a session."""

import asyncio
import json
from datetime import datetime, timedelta

import asyncpg
import pytest

from aiosess import events
from tests.rotation.routes import ROUTES
from tests.rotation.steps import minted, of_kind, promoted, row, settle
from tests.world.ageing import age
from tests.world.app import make_app
from tests.world.cookies import read, sign
from tests.world.databases import cut_connections
from tests.world.site import Site, visit
from tests.world.waiting import eventually
from tests.world.wire import NAVIGATION

pytestmark = pytest.mark.site(*ROUTES)


async def restore(pg: asyncpg.Connection) -> None:
    """Put the rows back as they were at the backup; every connection is cut, as when a server is restored."""
    await pg.execute("delete from aiosess_sessions; insert into aiosess_sessions select * from backup")
    await cut_connections(pg)


async def test_current_token_is_accepted_and_kept(site: Site, pg: asyncpg.Connection) -> None:
    """The current token is accepted, nothing is written and no cookie goes out."""
    token = await site.login()
    assert (await site.present(token)).user == "ada"
    await site.installation.upkeep.flush()  # the mark of the first request
    await eventually(lambda: pg.fetchval("select is_presented from aiosess_sessions"))
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
