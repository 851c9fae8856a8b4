"""Signing in: fixation, the cap, the race with a revocation, and the two limits of a session's life."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web

import aiosess
from aiosess import events
from tests.world.ageing import age, let_a_minute_pass
from tests.world.app import make_app
from tests.world.browser import Browser, firefox
from tests.world.databases import logged_pool
from tests.world.relay import relayed
from tests.world.site import Site, visit
from tests.world.waiting import Gate, eventually, somebody_waits
from tests.world.wire import set_cookies

DAY = 24 * 3600
FIREFOX = firefox()


def names(happened: list[Any]) -> Counter[str]:
    """Count events by their names."""
    return Counter(type(event).__name__ for event in happened)


async def ids(pg: asyncpg.Connection) -> set[UUID]:
    """Return the ids of all rows."""
    return {row["id"] for row in await pg.fetch("select id from aiosess_sessions")}


async def times(pg: asyncpg.Connection) -> tuple[datetime, datetime, datetime]:
    """Return last_active_at, expires_at and ends_at of the only row."""
    row = await pg.fetchrow("select last_active_at, expires_at, ends_at from aiosess_sessions")
    assert row is not None
    return tuple(row)


# Fixation


@pytest.mark.threat("SES-01")
async def test_planted_session_is_destroyed_by_the_login(site: Site, happened: list[events.Event]) -> None:
    """Whoever planted their own session's cookie before the login has nothing after it."""
    attacker = await (await site.browser()).login("mallory")
    planted = attacker.token
    victim = await site.browser(planted)
    await victim.login("alice")
    assert victim.token != planted
    assert await victim.user() == "alice"
    assert await (await site.browser(planted)).user() is None
    revoked = [event for event in happened if isinstance(event, events.Revoked)]
    assert [(event.reason, event.user_id) for event in revoked] == [("login", "mallory")]


@pytest.mark.threat("SES-01")
async def test_login_again_makes_a_new_id(site: Site, pg: asyncpg.Connection) -> None:
    """The same user's second login in one browser gives a new session and leaves no second row."""
    browser = await (await site.browser()).login("alice")
    old_token, old_id = browser.token, await browser.session_id()
    await browser.login("alice")
    new_id = await browser.session_id()
    assert new_id != old_id
    assert await ids(pg) == {new_id}
    assert await (await site.browser(old_token)).user() is None


@pytest.mark.threat("SES-01")
async def test_planted_rubbish_is_not_taken_over(site: Site) -> None:
    """A cookie that was never ours does not become the session's token."""
    browser = await site.browser("planted")
    await browser.login("alice")
    assert browser.token is not None
    assert "planted" not in browser.token
    assert await browser.user() == "alice"


async def test_two_browsers_have_two_sessions(site: Site, pg: asyncpg.Connection) -> None:
    """A login ends nothing but the session that its own request carried."""
    first = await (await site.browser()).login("alice")
    second = await (await site.browser()).login("alice")
    assert await ids(pg) == {await first.session_id(), await second.session_id()}


BRIEF = timedelta(seconds=0.5)


class UnknownCaller:
    """A login whose check PostgreSQL does not answer in time, as the table is locked."""

    def __init__(self) -> None:
        """Nobody has come."""
        self.gate = Gate()

    async def handle(self, request: web.Request) -> web.Response:
        """Try to sign in while the table is locked, and when the test has opened the gate."""
        sessions = request["sessions"]
        with pytest.raises(aiosess.StoreUnavailable):
            await sessions.authenticate("alice")
        await self.gate.wait()
        await sessions.authenticate("alice")
        return web.Response(text="in")

    async def sign_in(self, browser: Browser, pg: asyncpg.Connection) -> None:
        """Sign in with a browser: in vain while the table is locked, and then again."""
        async with pg.transaction():
            await pg.execute("lock table aiosess_sessions in access exclusive mode")
            login = asyncio.create_task(browser.post("/unknown"))
            await self.gate.entered.wait()
        self.gate.opened.set()
        assert (await login).status == 200

    async def give_up(self, request: web.Request) -> web.Response:
        """Cancel a login while it asks who has come, and say who that is now."""
        sessions = request["sessions"]
        login = asyncio.create_task(sessions.authenticate("alice"))
        await self.gate.wait()
        login.cancel()
        await asyncio.wait([login])
        return web.json_response({"user": sessions.user_id})


@pytest.mark.threat("SES-01")
async def test_login_ends_the_earlier_session_that_was_unknown(dsn: str, pg: asyncpg.Connection) -> None:
    """A login whose check was not answered is refused until it can be, and then ends the session it came with."""
    caller = UnknownCaller()
    async with visit(make_app(dsn, web.post("/unknown", caller.handle), store_timeout=BRIEF)) as site:
        browser = await (await site.browser()).login("alice")
        earlier, before = browser.token, await ids(pg)
        await caller.sign_in(browser, pg)
        assert await browser.user() == "alice"
        after = await ids(pg)
        assert len(after) == 1
        assert after != before
        assert await (await site.browser(earlier)).user() is None


@pytest.mark.threat("SES-15")
async def test_login_with_an_old_secret_that_was_unknown(dsn: str, pg: asyncpg.Connection) -> None:
    """A login whose check was answered late ends the session of which it brought an old token."""
    caller = UnknownCaller()
    async with visit(make_app(dsn, web.post("/unknown", caller.handle), store_timeout=BRIEF)) as site:
        browser = await (await site.browser()).login("alice")
        thief = await site.browser(browser.token)
        assert (await thief.post("/do/rotate")).status == 200
        await caller.sign_in(browser, pg)
        assert [await browser.user(), await thief.user()] == ["alice", None]


@pytest.mark.threat("DB-05")
async def test_login_that_is_given_up_leaves_the_caller_unknown(dsn: str, pg: asyncpg.Connection) -> None:
    """While PostgreSQL has not answered who comes, a login that is cancelled makes nobody of them."""
    caller = UnknownCaller()
    async with visit(make_app(dsn, web.post("/unknown", caller.give_up), store_timeout=BRIEF)) as site:
        browser = await (await site.browser()).login("alice")
        async with pg.transaction():
            await pg.execute("lock table aiosess_sessions in access exclusive mode")
            login = asyncio.create_task(browser.post("/unknown"))
            await caller.gate.entered.wait()
            await somebody_waits(pg)
            caller.gate.opened.set()
            assert (await login).status == 503
        assert await browser.user() == "alice"


# Events


async def test_login_events_come_once_each(site: Site, happened: list[events.Event]) -> None:
    """A first login is Created and NewDevice, a second from such a browser only Created, another kind both again."""
    await (await site.browser()).login("alice")
    assert names(happened) == {"Created": 1, "NewDevice": 1}
    await (await site.browser()).login("alice")
    assert names(happened) == {"Created": 2, "NewDevice": 1}
    await (await site.browser()).post("/login/alice", headers={"User-Agent": FIREFOX})
    assert names(happened) == {"Created": 3, "NewDevice": 2}
    newest = happened[-1]
    assert isinstance(newest, events.NewDevice)
    assert (newest.user_id, newest.origin.device_name, newest.origin.ip) == ("alice", "Firefox on Linux", "127.0.0.1")


async def test_another_users_device_is_new_to_this_one(site: Site, happened: list[events.Event]) -> None:
    """What device is known is asked per user."""
    await (await site.browser()).login("alice")
    await (await site.browser()).login("bob")
    assert names(happened) == {"Created": 2, "NewDevice": 2}


# The cap


async def test_the_least_recently_active_is_evicted(
    dsn: str, happened: list[events.Event], pg: asyncpg.Connection
) -> None:
    """Over the cap goes who was not active for longest, not who came first; it is told once, with its id."""
    async with visit(make_app(dsn, max_sessions_per_user=3, on_event=happened.append)) as site:
        browsers = [await (await site.browser()).login("alice") for _ in range(3)]
        known = [await browser.session_id() for browser in browsers]
        await age(pg, 600, f"id = '{known[1]}'")
        await age(pg, 300, f"id = '{known[0]}'")
        await (await site.browser()).login("alice")
        assert [await browser.user() for browser in browsers] == ["alice", None, "alice"]
        await (await site.browser()).login("alice")
        assert [await browser.user() for browser in browsers] == [None, None, "alice"]
    evicted = [event.session_id for event in happened if isinstance(event, events.Evicted)]
    assert evicted == [known[1], known[0]]


async def test_a_login_at_the_cap_that_replaces_its_own_session_evicts_nobody(
    dsn: str, happened: list[events.Event]
) -> None:
    """The earlier session of the request makes the room that its successor needs."""
    async with visit(make_app(dsn, max_sessions_per_user=2, on_event=happened.append)) as site:
        first = await (await site.browser()).login("alice")
        second = await (await site.browser()).login("alice")
        await second.login("alice")
        assert [await first.user(), await second.user()] == ["alice", "alice"]
    assert names(happened)["Evicted"] == 0


async def test_expired_sessions_take_no_room(dsn: str, happened: list[events.Event], pg: asyncpg.Connection) -> None:
    """A session whose time is up is not counted against the cap and not evicted, though its row is still there."""
    async with visit(make_app(dsn, max_sessions_per_user=2, on_event=happened.append)) as site:
        gone = await (await site.browser()).login("alice")
        kept = await (await site.browser()).login("alice")
        await age(pg, 31 * DAY, f"id = '{await gone.session_id()}'")
        await (await site.browser()).login("alice")
        assert await kept.user() == "alice"
    assert names(happened)["Evicted"] == 0


async def test_other_users_are_not_counted(dsn: str) -> None:
    """The cap is per user."""
    async with visit(make_app(dsn, max_sessions_per_user=1)) as site:
        alice = await (await site.browser()).login("alice")
        bob = await (await site.browser()).login("bob")
        assert [await alice.user(), await bob.user()] == ["alice", "bob"]


async def test_no_cap(dsn: str) -> None:
    """With None as the cap nobody is evicted."""
    async with visit(make_app(dsn, max_sessions_per_user=None)) as site:
        browsers = [await (await site.browser()).login("alice") for _ in range(12)]
        assert await site.store.count() == len(browsers)


@pytest.mark.threat("SES-09")
async def test_the_cap_is_exact_under_concurrent_logins(
    dsn: str, happened: list[events.Event], pg: asyncpg.Connection
) -> None:
    """Of 50 parallel logins over two instances 5 stay, exactly, and what was idle before them is gone first."""
    # So many connections that all logins are in PostgreSQL at once.
    options = {"max_sessions_per_user": 5, "on_event": happened.append, "pool_size": 25}
    async with visit(make_app(dsn, **options)) as one, visit(make_app(dsn, **options)) as other:
        for _ in range(5):
            await (await one.browser()).login("alice")
        idle = await ids(pg)
        await age(pg, 3600)
        browsers = [await site.browser() for site in [one, other] * 25]
        await asyncio.gather(*(browser.login("alice") for browser in browsers))
        live = await ids(pg)
        users = await asyncio.gather(*(browser.user() for browser in browsers))
    assert len(live) == 5
    assert not live & idle
    assert Counter(users) == {"alice": 5, None: 45}
    evicted = [event.session_id for event in happened if isinstance(event, events.Evicted)]
    assert len(evicted) == len(set(evicted)) == 50
    assert idle < set(evicted)
    assert names(happened)["Created"] == 55


# A revocation while a login is under way


REVOKED_NOW = """
    insert into aiosess_logins (user_id, seen_at, revoked_at) values ('alice', now(), clock_timestamp())
    returning revoked_at
"""


class SlowLogin:
    """A login that waits between its arrival and authenticate(), as a password hash takes its time."""

    def __init__(self) -> None:
        """Nobody has arrived."""
        self.arrived, self.checked = asyncio.Event(), asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        """Wait for the test, then sign alice in."""
        self.arrived.set()
        await self.checked.wait()
        await request["sessions"].authenticate("alice")
        return web.Response(text="in")


@pytest.mark.threat("SES-07")
async def test_revocation_catches_a_login_on_a_fresh_connection(dsn: str, pg: asyncpg.Connection) -> None:
    """A revocation acknowledged before authenticate() counts, though the connection is new and the network slow."""
    slow = SlowLogin()
    async with relayed(dsn) as relay, visit(make_app(relay.dsn, web.post("/slow", slow.handle))) as site:
        login = asyncio.create_task((await site.browser()).post("/slow"))
        await slow.arrived.wait()
        assert await pg.fetchval(REVOKED_NOW) is not None
        await site.installation.database.connections.expire()
        relay.delay = 0.2
        slow.checked.set()
        assert (await login).status == 401
        relay.delay = 0.0
        assert await ids(pg) == set()


@pytest.mark.threat("SES-07")
@pytest.mark.parametrize("change", ["aiosess_logins", "aiosess_schema"])
async def test_clock_that_was_set_back_refuses_no_login(change: str, site: Site, pg: asyncpg.Connection) -> None:
    """A revocation in the future, from before the database's clock was set back, is not newer than a login."""
    browser = await (await site.browser()).login("alice")
    await pg.execute(f"update {change} set revoked_at = now() + interval '1 hour'")  # noqa: S608 - a table of the list
    assert await (await browser.login("alice")).user() == "alice"


@pytest.mark.threat("SES-07")
@pytest.mark.parametrize("way", ["revoke_user", "logout_all", "logout_other"])
async def test_revocation_catches_a_login_under_way(
    way: str, dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had only just proved the old password when all sessions were ended does not get in, on any instance."""
    slow = SlowLogin()
    async with visit(make_app(dsn, web.post("/slow", slow.handle))) as one, visit(make_app(dsn)) as other:
        owner = await (await other.browser()).login("alice")
        own_id = await owner.session_id()
        thief = await one.browser()
        login = asyncio.create_task(thief.post("/slow"))
        await slow.arrived.wait()
        let_a_minute_pass(monkeypatch)
        if way == "revoke_user":
            assert await other.store.revoke_user("alice") == 1
        else:
            assert (await owner.post(f"/do/{way}")).status == 200
        slow.checked.set()
        response = await login
        assert response.status == 401
        assert not set_cookies(response)
        assert await thief.user() is None
        assert await ids(pg) == ({own_id} if way == "logout_other" else set())


@pytest.mark.threat("SES-07")
async def test_revocation_catches_a_login_that_waits_for_a_connection(
    dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that a login spends in the queue for a connection counts as under way."""
    slow = SlowLogin()
    async with (
        asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool,
        visit(make_app(dsn, web.post("/slow", slow.handle), pool=pool)) as one,
        visit(make_app(dsn)) as other,
    ):
        slow.checked.set()
        thief = await one.browser()
        async with pool.acquire():
            login = asyncio.create_task(thief.post("/slow"))

            async def login_waits() -> bool:
                return bool(pool._queue._getters)  # type: ignore[attr-defined]  # its stubs hide it

            await eventually(login_waits)
            let_a_minute_pass(monkeypatch)
            await other.store.revoke_user("alice")
        assert (await login).status == 401
        assert await ids(pg) == set()


@pytest.mark.threat("SES-07")
async def test_login_after_a_revocation_works(site: Site) -> None:
    """A login that arrives after the revocation is not held back by it."""
    await site.store.revoke_user("alice")
    browser = await (await site.browser()).login("alice")
    assert await browser.user() == "alice"


async def revoke_together(store: aiosess.SessionStore) -> None:
    """Revoke in a task of its own."""
    await asyncio.gather(store.revoke_user("alice"), asyncio.sleep(0))


RESETS: dict[str, list[Callable[[aiosess.SessionManager, aiosess.SessionStore], Awaitable[Any]]]] = {
    "logout_all": [lambda sessions, _: sessions.logout_all()],
    "logout_other": [lambda sessions, _: sessions.logout_other()],
    "revoke_user": [lambda _, store: store.revoke_user("alice")],
    "wait_for": [lambda _, store: asyncio.wait_for(store.revoke_user("alice"), 60)],
    "gather": [lambda _, store: revoke_together(store)],
    "twice": [lambda _, store: store.revoke_user("alice")] * 2,
    "two users": [lambda _, store: store.revoke_user("alice"), lambda _, store: store.revoke_user("bob")],
    "all, then another": [lambda _, store: store.revoke_all(), lambda _, store: store.revoke_user("bob")],
    "all, then this one": [lambda _, store: store.revoke_all(), lambda _, store: store.revoke_user("alice")],
}


@pytest.mark.parametrize("before", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("way", RESETS)
async def test_request_that_ends_all_sessions_may_sign_in(
    way: str, site: Site, pg: asyncpg.Connection, *, before: bool
) -> None:
    """A password reset signs out everywhere and then in: the login comes after the revocation, so it counts."""
    if before:
        await site.store.revoke_user("alice")
        await site.store.revoke_all()
        await pg.execute("update aiosess_logins set revoked_at = now() - interval '1 hour'")
        await pg.execute("update aiosess_schema set revoked_at = now() - interval '1 hour'")
    browser = await (await site.browser()).login("alice")
    other = await (await site.browser()).login("alice")

    async def reset(sessions: aiosess.SessionManager) -> None:
        for revoke in RESETS[way]:
            await revoke(sessions, site.store)
        await sessions.authenticate("alice")

    await browser.run(reset)
    assert await browser.user() == "alice"
    assert await other.user() is None


def revocation(site: Site, way: str) -> Coroutine[Any, Any, Any]:
    """Return the end of alice's sessions, or of everybody's."""
    return site.store.revoke_all() if way == "revoke_all" else site.store.revoke_user("alice")


@pytest.mark.threat("SES-07")
@pytest.mark.parametrize("order", ["others, own", "own, others", "own, others, own"])
@pytest.mark.parametrize("own", ["revoke_user", "revoke_all"])
@pytest.mark.parametrize("others", ["revoke_user", "revoke_all"])
async def test_own_revocation_hides_nobody_elses(
    order: str, own: str, others: str, dsn: str, pg: asyncpg.Connection
) -> None:
    """A request that ends all sessions and signs in is caught by whoever else ended them since it came in."""
    async with visit(make_app(dsn)) as one, visit(make_app(dsn)) as other:

        async def reset(sessions: aiosess.SessionManager) -> None:
            let_a_minute_pass(patch)
            for who in order.split(", "):
                if who == "own":
                    await revocation(one, own)
                else:
                    # Another process knows nothing of this request.
                    await asyncio.create_task(revocation(other, others), context=Context())
            await sessions.authenticate("alice")

        thief = await one.browser()
        with pytest.MonkeyPatch.context() as patch, pytest.raises(aiosess.SessionRevoked):
            await thief.run(reset)
        assert await thief.user() is None
        assert await ids(pg) == set()


@pytest.mark.threat("SES-07")
async def test_revocation_of_one_user_does_not_hold_back_another(dsn: str) -> None:
    """A login under way of another user goes on."""
    slow = SlowLogin()
    async with visit(make_app(dsn, web.post("/slow", slow.handle))) as site:
        browser = await site.browser()
        login = asyncio.create_task(browser.post("/slow"))
        await slow.arrived.wait()
        await site.store.revoke_user("bob")
        slow.checked.set()
        assert (await login).status == 200
        assert await browser.user() == "alice"


# The limits of a session's life


async def limited(site: Site, **limits: timedelta) -> Browser:
    """Sign in with limits of this login's own."""
    browser = await site.browser()
    await browser.run(lambda sessions: sessions.authenticate("alice", **limits))
    return browser


async def test_login_may_have_limits_of_its_own(site: Site, pg: asyncpg.Connection) -> None:
    """The limits given to authenticate() hold for that session and its cookie, activity included, and for no other."""
    browser = await limited(site, idle_timeout=timedelta(minutes=20), absolute_timeout=timedelta(hours=1))
    (cookie,) = set_cookies(browser.reply)
    assert 3590 <= int(cookie.partition("Max-Age=")[2].partition(";")[0]) <= 3600
    active, expires, ends = await times(pg)
    assert (expires - active, ends - active) == (timedelta(minutes=20), timedelta(hours=1))
    await age(pg, 15 * 60)
    assert await browser.user() == "alice"
    await site.installation.upkeep.flush()
    active, expires, _ = await times(pg)
    assert expires - active == timedelta(minutes=20)
    await age(pg, 20 * 60 + 1)
    assert await browser.user() is None
    await (await site.browser()).login("bob")
    rows = await pg.fetch("select ends_at - created_at as span from aiosess_sessions where user_id = 'bob'")
    assert [row["span"] for row in rows] == [timedelta(days=90)]


async def test_short_absolute_limit_shortens_the_idle_one(site: Site, pg: asyncpg.Connection) -> None:
    """An absolute limit below the configured idle one is enough by itself."""
    await limited(site, absolute_timeout=timedelta(hours=1))
    _, expires, ends = await times(pg)
    assert expires == ends


@pytest.mark.parametrize(
    ("limits", "option"),
    [
        ({"idle_timeout": timedelta(0)}, "idle_timeout"),
        ({"absolute_timeout": timedelta(seconds=-1)}, "idle_timeout|absolute_timeout"),
        ({"absolute_timeout": timedelta(days=401)}, "absolute_timeout"),
        ({"absolute_timeout": 3600}, "absolute_timeout"),
        ({"idle_timeout": timedelta(days=91)}, "idle_timeout"),
        ({"idle_timeout": timedelta(minutes=4)}, "touch_interval"),
    ],
)
async def test_impossible_limits_are_refused(
    limits: dict[str, Any], option: str, site: Site, pg: asyncpg.Connection
) -> None:
    """Limits that the configuration would refuse are refused at the login too, and nobody is signed in."""
    with pytest.raises(aiosess.ConfigError, match=option):
        await limited(site, **limits)
    assert await ids(pg) == set()


@pytest.mark.threat("COO-09")
async def test_the_row_decides_and_not_the_cookie(site: Site, pg: asyncpg.Connection) -> None:
    """A cookie that is good for 90 days does not help a row whose time is up."""
    browser = await (await site.browser()).login("alice")
    assert await browser.user() == "alice"
    await age(pg, 30 * DAY + 1)
    assert browser.token is not None
    assert await browser.user() is None


@pytest.mark.threat("SES-05")
async def test_idle_timeout_ends_a_session(site: Site, pg: asyncpg.Connection) -> None:
    """One minute before the idle timeout a session is live; at the timeout it has ended."""
    early = await (await site.browser()).login("alice")
    late = await (await site.browser()).login("bob")
    await age(pg, 30 * DAY - 60, "user_id = 'alice'")
    await age(pg, 30 * DAY, "user_id = 'bob'")
    assert await early.user() == "alice"
    assert await late.user() is None


@pytest.mark.threat("SES-05")
async def test_activity_starts_the_idle_timeout_anew(dsn: str, pg: asyncpg.Connection) -> None:
    """A session that is used after 29 days is live 29 days later, and then dies of idleness all the same."""
    async with visit(make_app(dsn)) as site:
        token = (await (await site.browser()).login("alice")).token
    await age(pg, 29 * DAY)
    async with visit(make_app(dsn)) as site:
        assert await (await site.browser(token)).user() == "alice"
    last_active_at, expires_at, _ = await times(pg)
    assert expires_at - last_active_at == timedelta(days=30)
    await age(pg, 29 * DAY)
    async with visit(make_app(dsn)) as site:
        assert await (await site.browser(token)).user() == "alice"
    await age(pg, 30 * DAY)
    async with visit(make_app(dsn)) as site:
        assert await (await site.browser(token)).user() is None


@pytest.mark.threat("SES-05")
async def test_activity_is_written_once_per_touch_interval(dsn: str, pg: asyncpg.Connection) -> None:
    """Within touch_interval of the last one no activity is written; beyond it one is, and no more for many requests."""
    async with visit(make_app(dsn)) as site:
        token = (await (await site.browser()).login("alice")).token
    await age(pg, 290)
    before = await times(pg)
    async with visit(make_app(dsn)) as site:
        await (await site.browser(token)).user()
    assert await times(pg) == before

    await age(pg, 20)
    async with logged_pool(dsn) as (pool, statements):
        async with visit(make_app(dsn, pool=pool)) as site:
            browser = await site.browser(token)
            for _ in range(20):
                await browser.user()
        assert sum("last_active_at = case" in statement for statement in statements) == 1
    after = await times(pg)
    assert after[0] > before[0]
    assert after[1] - after[0] == timedelta(days=30)


@pytest.mark.threat("SES-05")
async def test_who_keeps_asking_stays_however_short_the_idle_timeout(dsn: str, pg: asyncpg.Connection) -> None:
    """With an idle timeout as short as touch_interval a session that is used within it does not end of idleness."""
    hour = timedelta(hours=1)
    # Rotation is put off: settling a token counts as activity.
    async with visit(make_app(dsn, idle_timeout=hour, touch_interval=hour, rotate_every=24 * hour)) as site:
        browser = await (await site.browser()).login("alice")
        for _ in range(5):
            await age(pg, 1000)
            assert await browser.user() == "alice"
            await site.installation.upkeep.flush()
        await age(pg, 3600)
        assert await browser.user() is None


@pytest.mark.threat("SES-05")
async def test_a_touch_never_goes_back_or_beyond_the_idle_timeout(dsn: str, pg: asyncpg.Connection) -> None:
    """However often a session is touched, it expires no later than idle_timeout after its last activity."""
    async with visit(make_app(dsn)) as site:
        token = (await (await site.browser()).login("alice")).token
    for _ in range(3):
        await age(pg, 400)
        previous = await times(pg)
        async with visit(make_app(dsn)) as site:
            await (await site.browser(token)).user()
        last_active_at, expires_at, _ = await times(pg)
        assert last_active_at > previous[0]
        assert expires_at - last_active_at <= timedelta(days=30)


@pytest.mark.threat("SES-05")
async def test_anonymous_and_dead_requests_touch_nothing(dsn: str, pg: asyncpg.Connection) -> None:
    """An expired session's cookie, however busily sent, does not move its row."""
    async with visit(make_app(dsn)) as site:
        token = (await (await site.browser()).login("alice")).token
    await age(pg, 30 * DAY + 1)
    before = await times(pg)
    async with visit(make_app(dsn)) as site:
        browser = await site.browser(token)
        for _ in range(3):
            assert await browser.user() is None
    assert await times(pg) == before


@pytest.mark.threat("SES-06")
async def test_activity_does_not_move_the_absolute_limit(dsn: str, pg: asyncpg.Connection) -> None:
    """A session in daily use ends 90 days after its login."""
    async with visit(make_app(dsn)) as site:
        token: str | None = (await (await site.browser()).login("alice")).token
    for days in (29, 29, 29):
        await age(pg, days * DAY)
        async with visit(make_app(dsn)) as site:
            browser = await site.browser(token)
            assert await browser.user() == "alice"
            token = browser.token
    _, expires_at, ends_at = await times(pg)
    assert expires_at == ends_at
    await age(pg, 3 * DAY)
    async with visit(make_app(dsn)) as site:
        assert await (await site.browser(token)).user() is None


@pytest.mark.threat("SES-06")
@pytest.mark.parametrize("change", ["rotate", "reauthenticated", "data"])
async def test_changes_do_not_move_the_absolute_limit(change: str, site: Site, pg: asyncpg.Connection) -> None:
    """Rotation, a new proof of who one is, and data leave the end of the session where it was."""
    browser = await (await site.browser()).login("alice")
    await age(pg, 20 * DAY)
    before = await pg.fetchval("select ends_at from aiosess_sessions")
    if change == "data":
        await browser.post("/set/key", json=1)
    else:
        await browser.post(f"/do/{change}")
    assert await pg.fetchval("select ends_at from aiosess_sessions") == before
    assert await browser.user() == "alice"


@pytest.mark.threat("SES-06")
async def test_the_cookie_never_outlives_the_absolute_limit(site: Site, pg: asyncpg.Connection) -> None:
    """The cookie of a later token has only the time that is left."""
    browser = await (await site.browser()).login("alice")
    await age(pg, 20 * DAY)
    response = await browser.post("/do/rotate")
    (cookie,) = set_cookies(response)
    max_age = int(cookie.split("Max-Age=")[1].split(";")[0])
    assert 70 * DAY - 60 <= max_age <= 70 * DAY
