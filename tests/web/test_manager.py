"""SessionManager: who is there, signing in and out, the list of sessions."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

import aiosess
from aiosess import SessionManager, events
from tests.web.jobs import DEEP, MINUTE, Value, job
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.databases import logged_pool, session_count
from tests.world.errands import Job
from tests.world.site import Site, visit
from tests.world.wire import COOKIE, set_cookies


def is_deletion(cookie: str) -> bool:
    """Tell whether a Set-Cookie header deletes our cookie."""
    return cookie.startswith(f"{COOKIE}=;") and "Max-Age=0;" in cookie


# Nobody is signed in


async def test_reads_of_an_anonymous_request(browser: Browser) -> None:
    """Who reads finds nobody, and no error."""
    result = await browser.run(
        job(lambda s: (s.current, s.user_id, s.is_authenticated, s.is_fresh(MINUTE), s.get("key"), s.get("key", int)))
    )
    assert result == (None, None, False, False, None, None)


@pytest.mark.parametrize("method", ["logout", "logout_all"])
async def test_logout_of_an_anonymous_request(method: str, browser: Browser) -> None:
    """Signing out when nobody is signed in does nothing."""
    response = await browser.post(f"/do/{method}")
    assert response.status == 200
    assert not set_cookies(response)


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.logout_other(),
        lambda s: s.revoke(uuid4()),
        lambda s: s.revoke("no UUID"),
        lambda s: s.rotate(),
        lambda s: s.reauthenticated(),
        lambda s: s.list_my_sessions(),
        lambda s: s.set("key", 1),
        lambda s: s.remove_key("key"),
    ],
)
async def test_what_needs_somebody(call: Job, browser: Browser) -> None:
    """What cannot be done for nobody is NotAuthenticated, and 401."""
    with pytest.raises(aiosess.NotAuthenticated):
        await browser.run(call)
    assert browser.reply is not None
    assert browser.reply.status == 401


# Signing in, and who is there


async def test_reads_of_a_signed_in_request(alice: Browser) -> None:
    """Who reads finds the user and the record."""
    user_id, is_authenticated, current = await alice.run(job(lambda s: (s.user_id, s.is_authenticated, s.current)))
    assert (user_id, is_authenticated) == ("alice", True)
    assert isinstance(current, aiosess.Session)
    assert (current.user_id, current.ip, current.is_current, dict(current.data)) == ("alice", "127.0.0.1", True, {})
    assert current.created_at == current.authenticated_at == current.last_active_at < current.expires_at
    assert isinstance(current.created_at, datetime)
    assert current.created_at.tzinfo is not None


async def test_reads_right_after_the_login(browser: Browser) -> None:
    """The request that signs in goes on as the user, with the first data."""

    async def sign_in(sessions: SessionManager) -> Value:
        before = sessions.user_id
        await sessions.authenticate("alice", data={"theme": "dark"})
        return before, sessions.user_id, sessions.get("theme"), sessions.is_fresh(MINUTE)

    assert await browser.run(sign_in) == (None, "alice", "dark", True)
    assert await browser.run(job(lambda s: s.get("theme"))) == "dark"


async def test_authenticate_with(browser: Browser) -> None:
    """authenticate_with() is authenticate() with data, and hands "remember" on."""
    await browser.run(lambda s: s.authenticate_with("alice", {"cart": [1, 2]}, remember=False))
    assert "Max-Age" not in set_cookies(browser.reply)[0]
    assert await browser.run(job(lambda s: (s.user_id, s.get("cart")))) == ("alice", [1, 2])


async def test_current_is_one_record_until_something_changes(alice: Browser) -> None:
    """Reading twice gives the same record; a write gives a new one and leaves the old one as it was."""

    async def read(sessions: SessionManager) -> bool:
        first = sessions.current
        same = sessions.current is first
        await sessions.set("key", 1)
        assert first is not None
        return same and sessions.current is not first and not first.data

    assert await alice.run(read)


async def test_repr_shows_nothing(alice: Browser, browser: Browser) -> None:
    """A manager and a record may be logged."""
    text = await alice.run(job(lambda s: f"{s!r} {s.current!r}"))
    assert "signed in" in text
    assert "anonymous" in await browser.run(job(repr))
    for secret in ("alice", str(await alice.session_id()), "127.0.0.1", alice.token):
        assert secret not in text


async def test_records_cannot_be_changed(alice: Browser) -> None:
    """A record's data is read-only: a change goes through set()."""

    def change(sessions: SessionManager) -> None:
        assert sessions.current is not None
        sessions.current.data["key"] = 1  # type: ignore[index]  # that is what is tested

    with pytest.raises(TypeError):
        await alice.run(job(change))


@pytest.mark.parametrize(
    "user_id",
    ["u", " alice ", "Alice", "A\u030a", "\xc5", "\u212b", "\U0001f98a", "a\nb\t\x01", "'; --", "1", "x" * 512, "%"],
)
async def test_user_id_is_kept_exactly(user_id: str, browser: Browser, site: Site) -> None:
    """No user id is trimmed, folded or normalised: each is its own user."""
    await browser.run(lambda s: s.authenticate(user_id))
    assert await browser.user() == user_id
    assert [session.user_id for session in await site.store.list_for_user(user_id)] == [user_id]
    assert await site.store.list_for_user(f"{user_id.strip()[:500]}x") == []


async def test_equal_looking_user_ids_are_different_users(site: Site) -> None:
    """Unicode forms that look the same are not the same user."""
    for user_id in ("A\u030a", "\xc5", "\u212b"):
        await (await site.browser()).run(lambda s, user_id=user_id: s.authenticate(user_id))
    assert [len(await site.store.list_for_user(user_id)) for user_id in ("A\u030a", "\xc5", "\u212b")] == [1, 1, 1]


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize("user_id", [None, "", 1, b"alice", "a\0", "\ud800", "x" * 513, "\xe9" * 257, ["alice"]])
async def test_bad_user_id_is_refused(user_id: Value, browser: Browser, pg: asyncpg.Connection) -> None:
    """What could not be kept exactly is InvalidData before anything is written."""
    with pytest.raises(aiosess.InvalidData):
        await browser.run(lambda s: s.authenticate(user_id))
    assert not set_cookies(browser.reply)
    assert await session_count(pg) == 0


BAD_DATA: list[Value] = [
    *([1], "text", None.__class__),
    *({1: 2}, {"a\0": 1}, {"a": "\0"}, {"a": "\ud800"}, {"a": float("nan")}, {"a": float("inf")}, {"a": -0.0}),
    *({"a": 1e300}, {"a": (1, 2)}, {"a": {1}}, {"a": b""}, {"a": object()}, {"a": DEEP}, {"a": {"b": {2: 1}}}),
    *({"a": "x" * 17_000}, {str(n): "x" * 200 for n in range(100)}, {"k" * 256: 1}),
]


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize("data", BAD_DATA, ids=range(len(BAD_DATA)))
async def test_bad_data_is_refused_at_login(data: Value, browser: Browser, pg: asyncpg.Connection) -> None:
    """Data that would not come back as it is makes no session."""
    with pytest.raises(aiosess.InvalidData):
        await browser.run(lambda s: s.authenticate("alice", data=data))
    assert not set_cookies(browser.reply)
    assert await session_count(pg) == 0


@pytest.mark.threat("DB-07")
async def test_bad_data_leaves_the_earlier_session(alice: Browser) -> None:
    """A login that is refused for its data does not end the session that was there."""
    with pytest.raises(aiosess.InvalidData):
        await alice.run(lambda s: s.authenticate("bob", data={"a": b""}))
    assert await alice.user() == "alice"


# "Remember me"


async def test_remembered_cookie_lasts_as_long_as_the_session(browser: Browser) -> None:
    """Max-Age is the absolute timeout."""
    (cookie,) = set_cookies(await browser.post("/login/alice"))
    max_age = int(cookie.partition("Max-Age=")[2].partition(";")[0])
    assert 90 * 86400 - 10 <= max_age <= 90 * 86400


async def test_browser_session_cookie_stays_one(browser: Browser, pg: asyncpg.Connection) -> None:
    """With remember=False the cookie has no Max-Age, and neither has any of its successors."""
    (first,) = set_cookies(await browser.post("/login/alice?brief"))
    rotated, _ = set_cookies(await browser.post("/do/rotate"))  # the second says which token came last
    await make_due(pg)
    minted, _ = set_cookies(await browser.get("/me"))
    renewed, _ = set_cookies(await browser.post("/do/reauthenticated"))
    for cookie in (first, rotated, minted, renewed):
        assert "Max-Age" not in cookie
        assert "Expires" not in cookie
    assert len({first, rotated, minted, renewed}) == 4
    assert await browser.user() == "alice"


# Signing out


async def test_logout_ends_the_session_and_clears_the_cookie(
    site: Site, alice: Browser, happened: list[events.Event]
) -> None:
    """After logout neither the browser nor a copy of its cookie gets in, and it is told once."""
    token = alice.token
    response = await alice.post("/do/logout")
    assert [is_deletion(cookie) for cookie in set_cookies(response)] == [True]
    assert alice.token is None
    assert await (await site.browser(token)).user() is None
    assert [event.reason for event in happened if isinstance(event, events.Revoked)] == ["logout"]


async def test_reads_after_logout(alice: Browser) -> None:
    """The request that signs out goes on as nobody."""

    async def sign_out(sessions: SessionManager) -> Value:
        await sessions.logout()
        return sessions.user_id, sessions.current, sessions.is_fresh(MINUTE)

    assert await alice.run(sign_out) == (None, None, False)


async def test_logout_twice(site: Site, alice: Browser) -> None:
    """A second logout, with the cookie of the first, is no error and clears the cookie again."""
    token = alice.token
    await alice.post("/do/logout")
    response = await (await site.browser(token)).post("/do/logout")
    assert response.status == 200
    assert [is_deletion(cookie) for cookie in set_cookies(response)] == [True]


async def test_logout_of_a_session_that_ends_meanwhile(
    site: Site, alice: Browser, happened: list[events.Event]
) -> None:
    """When another request ended the session first, logout is done all the same, and told once."""
    own_id = await alice.session_id()

    async def race(sessions: SessionManager) -> None:
        assert sessions.is_authenticated
        await site.store.revoke(own_id)
        await sessions.logout()

    await alice.run(race)
    assert [is_deletion(cookie) for cookie in set_cookies(alice.reply)] == [True]
    assert [event.reason for event in happened if isinstance(event, events.Revoked)] == ["revoke"]


async def test_login_and_logout_in_one_request(browser: Browser, pg: asyncpg.Connection) -> None:
    """The last one wins: no row stays and one Set-Cookie goes out, which deletes."""

    async def both(sessions: SessionManager) -> None:
        await sessions.authenticate("alice")
        await sessions.logout()

    await browser.run(both)
    assert [is_deletion(cookie) for cookie in set_cookies(browser.reply)] == [True]
    assert await session_count(pg) == 0


async def test_logout_and_login_in_one_request(alice: Browser) -> None:
    """The last one wins: one Set-Cookie goes out, and it signs in."""

    async def both(sessions: SessionManager) -> None:
        await sessions.logout()
        await sessions.authenticate("bob")

    await alice.run(both)
    assert len(set_cookies(alice.reply)) == 1
    assert await alice.user() == "bob"


async def test_logout_all(site: Site, alice: Browser, happened: list[events.Event]) -> None:
    """All sessions of the user end, nobody else's, and the cookie is cleared."""
    second = await (await site.browser()).login("alice")
    bob = await (await site.browser()).login("bob")
    response = await alice.post("/do/logout_all")
    assert [is_deletion(cookie) for cookie in set_cookies(response)] == [True]
    assert [await browser.user() for browser in (alice, second, bob)] == [None, None, "bob"]
    assert [event.reason for event in happened if isinstance(event, events.Revoked)] == ["logout_all"] * 2


async def test_logout_other(site: Site, alice: Browser, happened: list[events.Event]) -> None:
    """The user's other sessions end; their number comes back, this one stays and keeps its token."""
    others = [await (await site.browser()).login("alice") for _ in range(3)]
    bob = await (await site.browser()).login("bob")
    assert await alice.run(lambda s: s.logout_other()) == 3
    assert not set_cookies(alice.reply)
    assert [await browser.user() for browser in (alice, *others, bob)] == ["alice", None, None, None, "bob"]
    assert await alice.run(lambda s: s.logout_other()) == 0
    assert [event.reason for event in happened if isinstance(event, events.Revoked)] == ["logout_other"] * 3


async def test_logout_other_does_not_count_expired_sessions(site: Site, alice: Browser, pg: asyncpg.Connection) -> None:
    """A session that had ended by time is not one that this call ended."""
    other = await (await site.browser()).login("alice")
    await age(pg, 31 * 86400, f"id = '{await other.session_id()}'")
    assert await alice.run(lambda s: s.logout_other()) == 0


# The list, and ending one


async def test_list_order_and_current(site: Site, alice: Browser, pg: asyncpg.Connection) -> None:
    """Own live sessions only, most recently active first, and exactly one is the current one."""
    browsers = [alice, *[await (await site.browser()).login("alice") for _ in range(3)]]
    known = [await browser.session_id() for browser in browsers]
    await (await site.browser()).login("bob")
    for hours, which in ((3, known[1]), (1, known[2]), (2, known[0])):
        await age(pg, hours * 3600, f"id = '{which}'")
    listed = await alice.run(lambda s: s.list_my_sessions())
    assert [session.id for session in listed] == [known[3], known[2], known[0], known[1]]
    assert [session.is_current for session in listed] == [False, False, True, False]
    await age(pg, 31 * 86400, f"id = '{known[3]}'")
    listed = await alice.run(lambda s: s.list_my_sessions())
    assert [session.id for session in listed] == [known[2], known[0], known[1]]


async def test_list_knows_data_and_devices(browser: Browser) -> None:
    """A listed session has what the devices page shows."""
    iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/18.6 Safari/604.1"
    await browser.post("/login/alice", headers={"User-Agent": iphone})
    (listed,) = await browser.run(lambda s: s.list_my_sessions())
    assert (listed.device_type, listed.ip, listed.user_id) == ("mobile", "127.0.0.1", "alice")
    assert listed.device_name.endswith("iOS")


async def test_revoke_another_of_ones_own(site: Site, alice: Browser, happened: list[events.Event]) -> None:
    """The named session ends, the own one goes on and keeps its cookie."""
    other = await (await site.browser()).login("alice")
    other_id = await other.session_id()
    assert (await alice.post(f"/revoke/{other_id}")).status == 200
    assert not set_cookies(await alice.get("/me"))
    assert [await alice.user(), await other.user()] == ["alice", None]
    (revoked,) = [event for event in happened if isinstance(event, events.Revoked)]
    assert (revoked.reason, revoked.session_id) == ("revoke", other_id)


@pytest.mark.parametrize("spelling", [str, lambda id_: str(id_).upper(), lambda id_: id_.hex, lambda id_: id_])
async def test_revoke_the_current_one(spelling: Callable[[UUID], Value], alice: Browser) -> None:
    """However its id is spelled, ending the current session is a logout: nobody is there, the cookie is cleared."""
    own_id = await alice.session_id()

    async def end(sessions: SessionManager) -> Value:
        await sessions.revoke(spelling(own_id))
        return sessions.user_id

    assert await alice.run(end) is None
    assert [is_deletion(cookie) for cookie in set_cookies(alice.reply)] == [True]


@pytest.mark.threat("DEV-01")
async def test_foreign_and_unknown_ids_look_the_same(site: Site, alice: Browser, pg: asyncpg.Connection) -> None:
    """Another user's, an expired, an ended, an unknown and a malformed id give one and the same answer."""
    bob = await (await site.browser()).login("bob")
    expired, ended = [await (await site.browser()).login("alice") for _ in range(2)]
    expired_id, ended_id = await expired.session_id(), await ended.session_id()
    await age(pg, 31 * 86400, f"id = '{expired_id}'")
    await ended.post("/do/logout")
    known = [await bob.session_id(), expired_id, ended_id, uuid4(), "x", "%00", "0" * 100, "'", "\ud83e\udd8a"]
    answers = set()
    for each in known:
        with pytest.raises(aiosess.SessionNotFound) as caught:
            await alice.run(lambda s, each=each: s.revoke(each))
        response = alice.reply
        assert response is not None
        shown = [(name, value) for name, value in response.headers.items() if name != "Date"]
        answers.add((str(caught.value), response.status, await response.text(), tuple(shown)))
    ((_, status, _, _),) = answers
    assert status == 404
    assert [await alice.user(), await bob.user()] == ["alice", "bob"]


@pytest.mark.parametrize("value", [None, 1, b"x", [], object()])
async def test_ids_of_any_type_name_no_session(value: Value, alice: Browser) -> None:
    """What is no UUID at all is SessionNotFound, not a TypeError."""
    with pytest.raises(aiosess.SessionNotFound):
        await alice.run(lambda s: s.revoke(value))


@pytest.mark.threat("COO-06")
async def test_the_current_one_cannot_be_revoked_once_the_headers_are_out(
    dsn: str, happened: list[events.Event]
) -> None:
    """When the cookie can no longer be cleared, ending the current session is refused, and nothing is committed."""

    async def handle(request: web.Request) -> web.StreamResponse:
        sessions = request["sessions"]
        response = web.StreamResponse()
        await response.prepare(request)
        with pytest.raises(aiosess.ResponseStarted):
            await sessions.revoke(str(sessions.current.id))
        await response.write(b"refused")
        return response

    async with visit(make_app(dsn, web.post("/late", handle), on_event=happened.append)) as site:
        alice = await (await site.browser()).login("alice")
        assert await (await alice.post("/late")).text() == "refused"
        assert await alice.user() == "alice"
        assert not [event for event in happened if isinstance(event, events.Revoked)]


# The session ends while a request runs


@pytest.mark.threat("SES-04")
@pytest.mark.parametrize(
    "save",
    [
        lambda s: s.set("key", 1),
        lambda s: s.remove_key("key"),
        lambda s: s.rotate(),
        lambda s: s.reauthenticated(),
    ],
)
@pytest.mark.parametrize("end", ["revoke", "revoke_user", "expire"])
async def test_a_slow_request_brings_nothing_back(
    save: Job, end: str, site: Site, alice: Browser, pg: asyncpg.Connection
) -> None:
    """A request that loaded the session before it ended is told when it saves, and the row stays gone."""
    own_id = await alice.session_id()

    async def slow(sessions: SessionManager) -> None:
        assert sessions.user_id == "alice"
        if end == "revoke":
            await site.store.revoke(own_id)
        elif end == "revoke_user":
            await site.store.revoke_user("alice")
        else:
            await age(pg, 31 * 86400)
        try:
            await save(sessions)
        finally:
            assert sessions.user_id is None

    with pytest.raises(aiosess.SessionRevoked):
        await alice.run(slow)
    assert alice.reply is not None
    assert alice.reply.status == 401
    assert not set_cookies(alice.reply)
    assert await alice.user() is None
    assert await site.store.count() == 0
    assert await session_count(pg) == (1 if end == "expire" else 0)


# PostgreSQL does not answer


@pytest.mark.parametrize(
    "call",
    [
        job(lambda s: s.current),
        job(lambda s: s.user_id),
        job(lambda s: s.is_authenticated),
        job(lambda s: s.is_fresh(MINUTE)),
        job(lambda s: s.get("key")),
        lambda s: s.authenticate("alice"),
        lambda s: s.logout(),
        lambda s: s.logout_all(),
        lambda s: s.logout_other(),
        lambda s: s.revoke(uuid4()),
        lambda s: s.rotate(),
        lambda s: s.reauthenticated(),
        lambda s: s.list_my_sessions(),
        lambda s: s.set("key", 1),
        lambda s: s.remove_key("key"),
    ],
)
async def test_who_is_there_is_unknown_without_the_store(call: Job, dsn: str) -> None:
    """Without an answer nobody is taken for anonymous or for signed in, nothing is done, and the cookie is kept."""
    async with logged_pool(dsn) as (pool, _), visit(make_app(dsn, pool=pool)) as site:
        browser = await (await site.browser()).login("alice")
        await pool.close()
        with pytest.raises(aiosess.StoreUnavailable):
            await browser.run(call)
        assert browser.reply is not None
        assert browser.reply.status == 503
        assert "Retry-After" in browser.reply.headers
        assert not set_cookies(browser.reply)
        assert (await browser.get("/public")).status == 200
