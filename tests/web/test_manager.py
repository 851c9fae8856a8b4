"""Everything that an application does with request["sessions"], signed in and not signed in."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

import aiosess
from aiosess import SessionManager, events
from aiosess._row import Row
from tests.world.ageing import age, make_due
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.databases import logged_pool, session_count
from tests.world.errands import Job
from tests.world.site import Site, visit
from tests.world.waiting import Gate
from tests.world.wire import COOKIE, set_cookies

MINUTE = timedelta(minutes=1)

Value = Any  # of the session's data, or what a method returned


def job(call: Callable[[SessionManager], Value]) -> Job:
    """Make an errand of a plain call."""

    async def run(sessions: SessionManager) -> Value:
        return call(sessions)

    return run


async def data_of(pg: asyncpg.Connection) -> list[Value]:
    """Return the data of all rows."""
    return [json.loads(row["data"]) for row in await pg.fetch("select data::text from aiosess_sessions")]


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


DEEP: Value = 1
for _ in range(40):
    DEEP = [DEEP]

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
    (rotated,) = set_cookies(await browser.post("/do/rotate"))
    await make_due(pg)
    (minted,) = set_cookies(await browser.get("/me"))
    (renewed,) = set_cookies(await browser.post("/do/reauthenticated"))
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


# Rotation on purpose


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


# The data


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("text", str, "text"),
        (1, int, 1),
        (0, int, 0),
        (1.5, float, 1.5),
        (True, bool, True),
        (False, bool, False),
        ([1], list, [1]),
        ({"a": 1}, dict, {"a": 1}),
        (None, str, None),
        ("", str, ""),
        (1, object, 1),
        (True, object, True),
        ("1", int, None),
        (1, str, None),
        (1, float, None),
        (1.5, int, None),
        (True, int, None),
        (False, int, None),
        (1, bool, None),
        ([1], dict, None),
        ([1], tuple, None),
    ],
)
async def test_get_with_a_type(value: Value, kind: type, expected: Value, alice: Browser) -> None:
    """A value comes back if it is of the type; a bool is no number."""
    await alice.run(lambda s: s.set("key", value))
    result = await alice.run(job(lambda s: s.get("key", kind)))
    assert result == expected
    assert type(result) is type(expected)


async def test_wrong_type_is_logged_without_the_value(alice: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the key and both types, and not what was stored."""
    await alice.run(lambda s: s.set("age", "private"))
    with caplog.at_level(logging.WARNING, "aiosess"):
        assert await alice.run(job(lambda s: s.get("age", int))) is None
        assert await alice.run(job(lambda s: s.get("absent", int))) is None
    (record,) = [record for record in caplog.records if record.name == "aiosess"]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "aiosess: session data 'age' is str, not int"


async def test_values_are_the_requests_own(alice: Browser) -> None:
    """Changing a value in place changes nothing for other requests."""
    await alice.run(lambda s: s.set("list", [1]))
    await alice.run(job(lambda s: s.get("list").append(2)))
    assert await alice.run(job(lambda s: s.get("list"))) == [1]


async def test_set_and_remove(alice: Browser, pg: asyncpg.Connection) -> None:
    """What is set is happened at once, in the request, in the row and in the next request; so is its removal."""

    async def change(sessions: SessionManager) -> Value:
        await sessions.set("a", {"n": [1, 2.5, None, "\xe9"]})
        await sessions.set("b", 1)
        await sessions.set("b", 2)
        await sessions.remove_key("absent")
        return sessions.get("a"), sessions.get("b")

    assert await alice.run(change) == ({"n": [1, 2.5, None, "\xe9"]}, 2)
    assert await data_of(pg) == [{"a": {"n": [1, 2.5, None, "\xe9"]}, "b": 2}]
    await alice.run(lambda s: s.remove_key("a"))
    assert await alice.run(job(lambda s: (s.get("a"), s.get("b")))) == (None, 2)
    assert await data_of(pg) == [{"b": 2}]


@pytest.mark.parametrize("key", ["", " ", "a.b", "$", "{}", "\U0001f98a", "k" * 255, "'", "\x01"])
async def test_odd_keys(key: str, alice: Browser) -> None:
    """Any text without NUL is a key."""
    await alice.run(lambda s: s.set(key, 1))
    assert await alice.run(job(lambda s: s.get(key))) == 1
    await alice.run(lambda s: s.remove_key(key))
    assert await alice.run(job(lambda s: s.get(key))) is None


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize(("key", "value"), [(1, 1), ("a\0", 1), ("\ud800", 1), ("k" * 256, 1), ("k", b""), ("k", DEEP)])
async def test_bad_keys_and_values_are_refused(
    key: Value, value: Value, alice: Browser, pg: asyncpg.Connection
) -> None:
    """What could not be kept exactly is refused, and the session stays as it was."""
    await alice.run(lambda s: s.set("kept", 1))
    with pytest.raises(aiosess.InvalidData):
        await alice.run(lambda s: s.set(key, value))
    assert await data_of(pg) == [{"kept": 1}]


@pytest.mark.parametrize("key", [1, None, "a\0", "\ud800", "k" * 256])
async def test_impossible_keys_cannot_be_removed(key: Value, alice: Browser) -> None:
    """No value can have such a key, so asking for its removal is a mistake."""
    with pytest.raises(aiosess.InvalidData):
        await alice.run(lambda s: s.remove_key(key))


@pytest.mark.threat("DOS-01")
async def test_the_cap_on_data_is_for_the_sum(alice: Browser, pg: asyncpg.Connection) -> None:
    """Keys that fit one by one do not fit together; the one too many is refused, and space that is freed is free."""
    await alice.run(lambda s: s.set("a", "x" * 9000))
    with pytest.raises(aiosess.InvalidData, match="max_data_bytes"):
        await alice.run(lambda s: s.set("b", "x" * 9000))
    assert [sorted(data) for data in await data_of(pg)] == [["a"]]
    assert await alice.user() == "alice"
    await alice.run(lambda s: s.remove_key("a"))
    await alice.run(lambda s: s.set("b", "x" * 9000))
    await alice.run(lambda s: s.set("b", "y" * 16_000))
    assert await data_of(pg) == [{"b": "y" * 16_000}]


@pytest.mark.threat("DOS-01")
async def test_parallel_writes_do_not_outgrow_the_cap(site: Site, alice: Browser, pg: asyncpg.Connection) -> None:
    """The cap holds for requests that write at the same time."""
    together = asyncio.Barrier(4)

    async def fill(sessions: SessionManager, key: str) -> None:
        assert sessions.is_authenticated
        await together.wait()
        await sessions.set(key, "x" * 6000)

    tabs = [await site.browser(alice.token) for _ in range(4)]
    outcomes = await asyncio.gather(
        *(tab.run(lambda s, key=key: fill(s, key)) for tab, key in zip(tabs, "abcd", strict=True)),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["InvalidData"] * 2 + ["NoneType"] * 2
    (data,) = await data_of(pg)
    assert len(data) == 2


@pytest.mark.threat("SES-12")
async def test_requests_that_set_different_keys_both_win(site: Site, alice: Browser, pg: asyncpg.Connection) -> None:
    """Two requests that both read before either wrote lose nothing of one another."""
    together = asyncio.Barrier(2)

    async def write(sessions: SessionManager, key: str) -> None:
        assert sessions.get(key) is None
        await together.wait()
        await sessions.set(key, 1)

    other_tab = await site.browser(alice.token)
    await asyncio.gather(alice.run(lambda s: write(s, "a")), other_tab.run(lambda s: write(s, "b")))
    assert await data_of(pg) == [{"a": 1, "b": 1}]


class SlowWrite:
    """Holds one call of set() until the gate is open, before it is made ("delayed") or before its answer ("late")."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hold what sets these keys."""
        self.gate = Gate()
        self._patch = site.installation.rows.patch
        monkeypatch.setattr(site.installation.rows, "patch", self._hold)

    async def _hold(self, session_id: UUID, key: str, value: str) -> Row | None:
        if key == "delayed":
            await self.gate.wait()
        row = await self._patch(session_id, key, value)
        if key == "late":
            await self.gate.wait()
        return row


@pytest.fixture
def slow(site: Site, monkeypatch: pytest.MonkeyPatch) -> SlowWrite:
    """Return the write that is held."""
    return SlowWrite(site, monkeypatch)


async def set_beside(sessions: SessionManager, slow: SlowWrite, job: Job, key: str = "late") -> Value:
    """Do something while a set() is held; return what became of that."""
    setting = asyncio.create_task(sessions.set(key, 1))
    await slow.gate.entered.wait()
    await job(sessions)
    slow.gate.opened.set()
    (outcome,) = await asyncio.gather(setting, return_exceptions=True)
    return outcome


@pytest.mark.threat("SES-12")
async def test_parallel_writes_of_one_request_keep_the_newer_data(alice: Browser, slow: SlowWrite) -> None:
    """Whichever answer comes last, the request goes on with the data of the last write."""

    async def write(sessions: SessionManager) -> Value:
        assert await set_beside(sessions, slow, lambda s: s.set("key", 2)) is None
        return sessions.get("late"), sessions.get("key")

    assert await alice.run(write) == (1, 2)


@pytest.mark.threat("SES-04")
async def test_parallel_write_does_not_undo_a_logout(alice: Browser, slow: SlowWrite) -> None:
    """The answer to a write that comes after a logout of the same request brings nobody back."""

    async def leave(sessions: SessionManager) -> Value:
        assert await set_beside(sessions, slow, lambda s: s.logout()) is None
        return sessions.user_id

    assert await alice.run(leave) is None
    assert await alice.user() is None


@pytest.mark.threat("SES-01")
@pytest.mark.parametrize("held", ["late", "delayed"])
async def test_parallel_write_does_not_undo_a_login(alice: Browser, slow: SlowWrite, held: str) -> None:
    """A write to the earlier session that a login of the same request overtakes leaves the new one as it is."""

    async def swap(sessions: SessionManager) -> Value:
        outcome = await set_beside(sessions, slow, lambda s: s.authenticate("bob"), held)
        assert isinstance(outcome, aiosess.SessionRevoked) is (held == "delayed")
        return sessions.user_id, sessions.is_fresh(MINUTE)

    assert await alice.run(swap) == ("bob", True)
    assert await alice.user() == "bob"


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
