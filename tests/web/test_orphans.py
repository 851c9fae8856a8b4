"""Sign-ins that leave a session behind which nobody uses: which one goes when there are too many, and when it ends."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from aiosess import SessionManager, events
from aiosess._postgres import upkeep
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.browser import Browser, firefox
from tests.world.databases import logged_pool
from tests.world.site import Site, visit
from tests.world.wire import sign_in

CAP = 10
DAY = 24 * 3600
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Mobile/15E148 Safari/604.1"
)

pytestmark = pytest.mark.site(trusted_proxies=("127.0.0.1",))


async def device(site: Site, user_agent: str = firefox(), address: str = "192.0.2.1") -> Browser:
    """Return a browser of a kind, at an address, that nobody is signed in with."""
    browser = await site.browser()
    browser.client.session.headers["User-Agent"] = user_agent
    browser.client.session.headers["X-Forwarded-For"] = address
    return browser


async def in_use(site: Site, user_agent: str = firefox(), address: str = "192.0.2.1") -> Browser:
    """Sign ada in on a device, which then asks for a page, and see to it that this is noted."""
    browser = await (await device(site, user_agent, address)).login("ada")
    assert await browser.user() == "ada"
    await site.installation.upkeep.flush()
    return browser


def evicted(happened: list[events.Event]) -> list[object]:
    """Return the ids of the sessions that were evicted."""
    return [event.session_id for event in happened if isinstance(event, events.Evicted)]


# Over the cap


@pytest.mark.threat("SES-16")
async def test_what_was_never_presented_goes_first(site: Site, pg: asyncpg.Connection) -> None:
    """Sign-ins whose cookie never comes back push out one another, and not a phone that was idle for a week."""
    phone = await in_use(site, PHONE)
    await age(pg, 7 * DAY)
    for number in range(2 * CAP):
        await (await device(site, address=f"192.0.2.{number}")).login("ada")
    assert await site.store.count() == CAP
    assert await phone.user() == "ada"


@pytest.mark.threat("SES-16")
async def test_double_click_leaves_devices_alone(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """A user who double-clicks "Sign in" again and again keeps the phone: one session of the two is an orphan."""
    phone = await in_use(site, PHONE)
    await age(pg, 7 * DAY)
    for _ in range(2 * CAP):
        tabs = [await device(site), await device(site)]
        await asyncio.gather(*(tab.login("ada") for tab in tabs))  # the jar keeps the cookie that came last
        assert await tabs[1].user() == "ada"
        await site.installation.upkeep.flush()
        assert (await tabs[1].post("/do/logout")).status == 200
    assert len(evicted(happened)) > CAP
    assert await phone.user() == "ada"


@pytest.mark.threat("SES-16")
async def test_older_sessions_of_the_same_client_go_next(site: Site, pg: asyncpg.Connection) -> None:
    """A browser that signs in without its cookie again and again evicts its own sessions, the least active first."""
    phone = await in_use(site, PHONE)
    await age(pg, 7 * DAY)
    browsers = []
    for _ in range(2 * CAP):
        browsers.append(await in_use(site))
        await age(pg, 60)
    assert [await browser.user() for browser in browsers] == [None] * (CAP + 1) + ["ada"] * (CAP - 1)
    assert await phone.user() == "ada"


@pytest.mark.threat("SES-16")
@pytest.mark.parametrize(("user_agent", "address"), [(PHONE, "192.0.2.1"), (firefox(), "192.0.2.2")])
@pytest.mark.site(max_sessions_per_user=2)
async def test_client_is_address_and_user_agent(
    site: Site, pg: asyncpg.Connection, user_agent: str, address: str
) -> None:
    """A device that shares only address or only User-Agent with the client that signs in is another one."""
    own = await in_use(site)
    await age(pg, 60, f"id <> '{await own.session_id()}'")
    other = await in_use(site, user_agent, address)
    await age(pg, 60, f"id = '{await other.session_id()}'")
    await in_use(site)
    assert [await own.user(), await other.user()] == [None, "ada"]


@pytest.mark.threat("SES-16")
@pytest.mark.site(max_sessions_per_user=2)
async def test_client_is_where_the_session_was_used_last(site: Site, pg: asyncpg.Connection) -> None:
    """A session that has moved to another network belongs to the client that presented its newest token first."""
    phone = await in_use(site, PHONE)
    await age(pg, 7 * DAY)
    laptop = await in_use(site, address="198.51.100.7")
    laptop.client.session.headers["X-Forwarded-For"] = "192.0.2.1"
    await make_due(pg, f"id = '{await laptop.session_id()}'")
    assert [await laptop.user(), await laptop.user()] == ["ada", "ada"]  # gets a successor, and presents it
    await in_use(site)
    assert [await phone.user(), await laptop.user()] == ["ada", None]


@pytest.mark.threat("SES-16")
@pytest.mark.site(max_sessions_per_user=3)
async def test_least_recently_active_goes_last(
    site: Site, pg: asyncpg.Connection, happened: list[events.Event]
) -> None:
    """Where nothing is an orphan, the session that was not active for longest goes; of equal ones, the older."""
    devices = [await in_use(site, address=f"198.51.100.{number}") for number in range(3)]
    known = [await browser.session_id() for browser in devices]
    await age(pg, 300)
    await age(pg, 300, f"id = '{known[1]}'")
    await in_use(site)
    await pg.execute("update aiosess_sessions set last_active_at = now() - interval '10 minutes'")
    await in_use(site, PHONE)
    assert evicted(happened) == [known[1], known[0]]


@pytest.mark.threat("SES-16", "SES-09")
async def test_cap_is_exact_whatever_the_order(site: Site, happened: list[events.Event]) -> None:
    """Parallel sign-ins of several clients, some of which go on, leave as many sessions as the cap says."""
    devices = [await device(site, address=f"192.0.2.{number % 3}") for number in range(30)]

    async def use(browser: Browser, *, goes_on: bool) -> None:
        await browser.login("ada")
        if goes_on:
            await browser.user()
            await site.installation.upkeep.flush()

    await asyncio.gather(*(use(browser, goes_on=number % 2 == 0) for number, browser in enumerate(devices)))
    assert await site.store.count() == CAP
    assert len(evicted(happened)) == len(set(evicted(happened))) == 30 - CAP


# The mark


@pytest.mark.threat("SES-16", "SES-05")
async def test_first_presentation_is_written_once(
    dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request after a login makes the mark, which moves no instant; later requests write nothing."""
    monkeypatch.setattr(upkeep, "FLUSH_EVERY", 86_400.0)  # the test does it
    row = "select last_active_at, expires_at, ends_at, settled_at, is_presented from aiosess_sessions"
    async with logged_pool(dsn) as (pool, statements), visit(make_app(dsn, pool=pool)) as site:
        browser = await (await site.browser()).login("ada")
        await age(pg, 60)
        *before, is_presented = await pg.fetchrow(row)
        assert not is_presented
        for _ in range(3):
            assert await browser.user() == "ada"
            await site.installation.upkeep.flush()
        assert [*await pg.fetchrow(row)] == [*before, True]
    assert len([text for text in statements if "skip locked" in text]) == 1


@pytest.mark.threat("SES-16")
async def test_lost_mark_is_made_again(dsn: str, pg: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process that saw the first request dies before it writes the mark, another one makes it."""
    monkeypatch.setattr(upkeep, "FLUSH_EVERY", 86_400.0)
    async with visit(make_app(dsn)) as dying, visit(make_app(dsn)) as other:
        browser = await (await dying.browser()).login("ada")
        assert await browser.user() == "ada"
        dying.installation.upkeep._marks.clear()
        assert browser.token
        assert (await other.present(browser.token)).user == "ada"
        await other.installation.upkeep.flush()
        assert await pg.fetchval("select is_presented from aiosess_sessions")


@pytest.mark.threat("SES-16")
async def test_activity_is_not_lost_to_a_first_presentation(site: Site, pg: asyncpg.Connection) -> None:
    """Marks of one session that wait together are all written, in whatever order they came."""
    await (await site.browser()).login("ada")
    await age(pg, 3600)
    session_id, now = await pg.fetchrow("select id, now() from aiosess_sessions")
    site.installation.upkeep.touch(session_id, now)
    site.installation.upkeep.present(session_id, now)
    await site.installation.upkeep.flush()
    assert await pg.fetchval("select is_presented and last_active_at = $1 from aiosess_sessions", now)


# Browsers that do not remember the session


async def limits(browser: Browser, pg: asyncpg.Connection, **options: timedelta) -> tuple[timedelta, timedelta]:
    """Sign ada in without remember; return the idle limit that counts from now on, and the one that expires_at has."""

    async def login(sessions: SessionManager) -> None:
        await sessions.authenticate("ada", remember=False, **options)

    await browser.run(login)
    assert browser.reply is not None
    assert "Max-Age" not in browser.reply.headers["Set-Cookie"]
    idle, first = await pg.fetchrow("select idle_timeout, expires_at - created_at from aiosess_sessions")
    return idle, first


HOUR = timedelta(hours=1)


@pytest.mark.threat("SES-17")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 24 * HOUR),
        ({"absolute_timeout": 48 * HOUR}, 24 * HOUR),
        ({"absolute_timeout": HOUR}, HOUR),
        ({"idle_timeout": 48 * HOUR}, 48 * HOUR),
        ({"idle_timeout": HOUR}, HOUR),
        ({"idle_timeout": 48 * HOUR, "absolute_timeout": 96 * HOUR}, 48 * HOUR),
    ],
)
async def test_browser_session_has_an_idle_limit_of_its_own(
    browser: Browser, pg: asyncpg.Connection, options: dict[str, timedelta], expected: timedelta
) -> None:
    """With remember=False a session may be idle for a day, or as long as the call says; the absolute limit caps it."""
    assert await limits(browser, pg, **options) == (expected, expected)


@pytest.mark.threat("SES-17")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"idle_timeout": HOUR}, HOUR),
        ({"browser_session_idle_timeout": 2 * HOUR}, 2 * HOUR),
        ({"browser_session_idle_timeout": 100 * 24 * HOUR}, 30 * 24 * HOUR),
    ],
)
async def test_smaller_idle_limit_of_the_options_applies(
    dsn: str, pg: asyncpg.Connection, options: dict[str, timedelta], expected: timedelta
) -> None:
    """Of idle_timeout and browser_session_idle_timeout the smaller one is a browser session's limit."""
    async with visit(make_app(dsn, **options)) as site:
        assert (await limits(await site.browser(), pg))[0] == expected


@pytest.mark.threat("SES-17")
async def test_remembered_session_keeps_the_long_limit(site: Site, browser: Browser, pg: asyncpg.Connection) -> None:
    """A session whose cookie the browser keeps outlives a week without a visit."""
    await browser.login("ada")
    await age(pg, 7 * DAY)
    assert await browser.user() == "ada"
    assert await site.store.count() == 1


@pytest.mark.threat("SES-17", "SES-05")
async def test_browser_session_ends_a_day_after_its_last_use(
    site: Site, browser: Browser, pg: asyncpg.Connection
) -> None:
    """Use within the day prolongs a browser session, as often as it comes; a day without any ends it."""
    assert (await browser.post("/login/ada?brief")).status == 200
    for _ in range(3):
        await age(pg, DAY - 60)
        assert await browser.user() == "ada"
        await site.installation.upkeep.flush()
    await age(pg, DAY + 1)
    assert await browser.user() is None


@pytest.mark.threat("SES-16", "SES-17")
async def test_ten_closed_browsers_leave_the_phone_alone(site: Site, pg: asyncpg.Connection) -> None:
    """A user who signs in every day with remember=False and closes the browser keeps the phone."""
    phone = await in_use(site, PHONE)
    for day in range(2 * CAP):
        browser = await device(site, address=f"192.0.2.{day}")
        assert (await browser.post("/login/ada?brief")).status == 200
        assert await browser.user() == "ada"
        await site.installation.upkeep.flush()
        assert await site.store.count() <= 3, "what was closed yesterday has ended"
        await age(pg, DAY)
    assert await phone.user() == "ada"


async def test_session_of_the_login_is_not_evicted_by_itself(site: Site) -> None:
    """The session that a sign-in makes was never presented, and stays all the same."""
    for number in range(CAP):
        await in_use(site, address=f"198.51.100.{number}")
    newest = await sign_in(site.port, "ada")
    assert (await site.present(newest)).user == "ada"
