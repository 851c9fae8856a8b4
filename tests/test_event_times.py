"""Whose clock counts: the database's, in every event and every judgement, however wrong this machine's may be."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

import aiosess
from aiosess import events
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.browser import Browser, firefox
from tests.world.databases import cut_connections, empty_tables
from tests.world.site import Site, visit
from tests.world.tables import migrate
from tests.world.waiting import eventually
from tests.world.wire import COOKIE
from tests.world.wrong_clock import server_with_wrong_clock

pytestmark = pytest.mark.needs("faketime")

# The database's clock is three hours behind this machine's: far more than any test takes.
BEHIND = timedelta(hours=3)
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Mobile/15E148 Safari/604.1"
)
AGENT = f"User-Agent: {firefox()}".encode()


@pytest.fixture(scope="module")
async def late_dsn() -> AsyncIterator[str]:
    """Return the DSN of a database with tables, on a server of its own."""
    with server_with_wrong_clock("-3h") as dsn:
        await migrate(dsn)
        yield dsn


@pytest.fixture
async def dsn(late_dsn: str) -> str:
    """Return it with empty tables."""
    await empty_tables(late_dsn)
    return late_dsn


@pytest.fixture
async def site(dsn: str, happened: list[events.Event]) -> AsyncIterator[Site]:
    """Return an application whose database's clock is behind."""
    app = make_app(dsn, on_event=happened.append, max_sessions_per_user=2, sweep_interval=timedelta(days=1))
    async with visit(app) as site:
        yield site


async def test_the_clock_is_behind(pg: asyncpg.Connection) -> None:
    """The database of these tests tells another time than this machine."""
    behind = datetime.now(UTC) - await pg.fetchval("select clock_timestamp()")
    assert abs(behind - BEHIND) < timedelta(minutes=1)


async def test_freshness_goes_by_the_databases_clock(site: Site) -> None:
    """Who has just signed in is fresh, though by this machine's clock that was hours ago."""
    browser = await (await site.browser()).login("alice")

    async def is_fresh(sessions: aiosess.SessionManager) -> bool:
        return sessions.is_fresh(timedelta(minutes=5))

    assert await browser.run(is_fresh)


async def test_records_go_by_the_databases_clock(site: Site, pg: asyncpg.Connection) -> None:
    """What an application sees of a session are the database's instants."""
    before = await pg.fetchval("select now()")
    await (await site.browser()).login("alice")
    (session,) = await site.store.list_for_user("alice")
    after = await pg.fetchval("select now()")
    for instant in (session.created_at, session.last_active_at, session.authenticated_at):
        assert before <= instant <= after


@pytest.mark.threat("TOK-06")
async def test_difference_is_logged_once(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """An application says when it starts that the two clocks differ, and not again with every answer."""
    async with visit(make_app(dsn)) as site:
        await (await site.browser()).login("alice")
        site.installation._watch_clocks()
        site.store.clock.learn(datetime.now(UTC))  # somebody has put it right
        site.installation._watch_clocks()
    said = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert said[1:] == ["this machine's clock and the database's agree again"]
    assert re.match(r"this machine's clock is 10[78]\d\d s ahead of the database's", said[0])


# Each way to make an event: a browser that signed in five minutes ago, and what happens now.


async def sign_in(site: Site, _browser: Browser, _pg: asyncpg.Connection) -> None:
    """Sign in elsewhere on another kind of device."""
    other = await site.browser()
    assert (await other.post("/login/alice", headers={"User-Agent": SAFARI})).status == 200


async def log_out(_site: Site, browser: Browser, _pg: asyncpg.Connection) -> None:
    """Sign out."""
    await browser.post("/do/logout")


async def log_out_all(_site: Site, browser: Browser, _pg: asyncpg.Connection) -> None:
    """Sign out everywhere."""
    await browser.post("/do/logout_all")


async def sign_in_again(_site: Site, browser: Browser, _pg: asyncpg.Connection) -> None:
    """Sign in with a browser that is signed in."""
    await browser.login("alice")


async def revoke(site: Site, _browser: Browser, _pg: asyncpg.Connection) -> None:
    """End the session from outside of a request."""
    (session,) = await site.store.list_for_user("alice")
    await site.store.revoke(session.id)


async def revoke_user(site: Site, _browser: Browser, _pg: asyncpg.Connection) -> None:
    """End all sessions of the user from outside of a request."""
    await site.store.revoke_user("alice")


async def revoke_all(site: Site, _browser: Browser, pg: asyncpg.Connection) -> None:
    """End everybody's sessions, which was done before."""
    await pg.execute("update aiosess_schema set revoked_at = now() - interval '1 day'")
    await site.store.revoke_all()


async def overfill(site: Site, _browser: Browser, _pg: asyncpg.Connection) -> None:
    """Sign in more often than the cap allows."""
    for _ in range(2):
        other = await site.browser()
        assert (await other.post("/login/alice", headers={"User-Agent": firefox()})).status == 200


async def sweep(site: Site, _browser: Browser, pg: asyncpg.Connection) -> None:
    """Let the session expire, and sweep."""
    await age(pg, 10**8)
    assert await site.store.sweep() == 1


async def rotate(_site: Site, browser: Browser, _pg: asyncpg.Connection) -> None:
    """Rotate on purpose."""
    await browser.post("/do/rotate")


async def reauthenticate(_site: Site, browser: Browser, _pg: asyncpg.Connection) -> None:
    """Prove again who one is."""
    await browser.post("/do/reauthenticated")


async def promote(site: Site, browser: Browser, pg: asyncpg.Connection) -> None:
    """Present a successor for the first time."""
    assert browser.token
    await make_due(pg)
    successor = (await site.present(browser.token, "/me", AGENT)).token
    assert successor
    browser.token = successor
    assert (await site.present(successor, "/me", AGENT)).user == "alice"


async def reuse(site: Site, browser: Browser, pg: asyncpg.Connection) -> None:
    """Present an old token when its successor has long been used."""
    old = browser.token
    assert old
    await promote(site, browser, pg)
    await pg.execute("update aiosess_sessions set settled_at = promoted_at")
    await age(pg, 600)
    assert (await site.present(old, "/me", AGENT)).user is None


async def go_back(site: Site, browser: Browser, pg: asyncpg.Connection) -> None:
    """Go on with a token that is newer than the backup which was put back."""
    await pg.execute("create temp table backup as select * from aiosess_sessions")
    await promote(site, browser, pg)
    await promote(site, browser, pg)
    await pg.execute("delete from aiosess_sessions; insert into aiosess_sessions select * from backup")
    await pg.execute("drop table backup")
    await cut_connections(pg)  # as when a server is restored
    assert browser.token
    assert (await site.present(browser.token, "/me", AGENT)).user == "alice"


async def change_browser(_site: Site, browser: Browser, _pg: asyncpg.Connection) -> None:
    """Go on with another kind of browser."""
    await browser.get("/me", headers={"User-Agent": SAFARI})


async def plant(site: Site, browser: Browser, _pg: asyncpg.Connection) -> None:
    """Send two different cookies of our name."""
    assert (await site.present(f"{browser.token}; {COOKIE}=another", "/me", AGENT)).user is None


async def present_old_secret(site: Site, browser: Browser, pg: asyncpg.Connection) -> None:
    """Send a token whose secret was replaced long ago."""
    old = browser.token
    assert old
    await rotate(site, browser, pg)
    await age(pg, 600)
    assert (await site.present(old, "/me", AGENT)).user is None


Way = Callable[[Site, Browser, asyncpg.Connection], Awaitable[None]]
WAYS: dict[str, tuple[Way, list[type[events.Event]]]] = {
    "sign in": (sign_in, [events.Created, events.NewDevice]),
    "log out": (log_out, [events.Revoked]),
    "log out everywhere": (log_out_all, [events.Revoked]),
    "sign in again": (sign_in_again, [events.Revoked, events.Created]),
    "revoke": (revoke, [events.Revoked]),
    "revoke a user": (revoke_user, [events.Revoked]),
    "revoke all": (revoke_all, [events.AllRevoked]),
    "evict": (overfill, [events.Created, events.Evicted, events.Created]),
    "expire": (sweep, [events.Expired]),
    "rotate": (rotate, [events.Rotated]),
    "reauthenticate": (reauthenticate, [events.Rotated]),
    "promote": (promote, [events.Rotated]),
    "reuse": (reuse, [events.Rotated, events.ReuseDetected]),
    "go back": (go_back, [events.Rotated, events.Rotated, events.WentBack]),
    "change the browser": (change_browser, [events.FingerprintChanged]),
    "present an old secret": (present_old_secret, [events.Rotated, events.OldSecretPresented]),
    "plant a cookie": (plant, [events.CookieConflicted]),
}


async def told(happened: list[events.Event], expected: list[type[events.Event]]) -> None:
    """Wait for events of these kinds, and see that there are no others."""

    async def are_all_here() -> bool:
        return len(happened) >= len(expected)

    await eventually(are_all_here)
    assert [type(event) for event in happened] == expected


@pytest.mark.parametrize("way", WAYS)
async def test_event_tells_when_it_was(
    way: str, site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """An event's time is when it happened by the database's clock, not when its session began or was last active."""
    happen, expected = WAYS[way]
    browser = await site.browser()
    browser.client.session.headers["User-Agent"] = firefox()
    before = await pg.fetchval("select clock_timestamp()")
    await browser.login("alice")
    await age(pg, 300)
    happened.clear()
    await happen(site, browser, pg)
    after = await pg.fetchval("select clock_timestamp()")
    await told(happened, expected)
    for event in happened:
        assert before <= event.at <= after, f"{event} was not between {before} and {after}"


async def test_enforced_change_tells_when_it_was(
    dsn: str, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """The two events of a session that is ended for its browser are of that time too."""
    async with visit(make_app(dsn, on_event=happened.append, fingerprint="enforce")) as site:
        before = await pg.fetchval("select clock_timestamp()")
        browser = await (await site.browser()).login("alice")
        await age(pg, 300)
        happened.clear()
        await change_browser(site, browser, pg)
        after = await pg.fetchval("select clock_timestamp()")
        await told(happened, [events.Revoked, events.FingerprintChanged])
    assert all(before <= event.at <= after for event in happened)


def test_every_kind_has_a_way() -> None:
    """No kind of event is left out here."""
    tried = {kind for _, kinds in WAYS.values() for kind in kinds}
    assert tried >= {kind for kind in vars(events).values() if isinstance(kind, type) and is_kind(kind)}


def is_kind(kind: type) -> bool:
    """Whether a class is a kind of event that is emitted."""
    return issubclass(kind, events.Event) and kind not in (events.Event, events.SessionEvent)
