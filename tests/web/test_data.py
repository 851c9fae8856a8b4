"""SessionManager: the session's data."""

import asyncio
import json
import logging

import asyncpg
import pytest

import aiosess
from aiosess import SessionManager
from tests.web.jobs import DEEP, MINUTE, SlowWrite, Value, job
from tests.world.browser import Browser
from tests.world.errands import Job
from tests.world.site import Site


async def data_of(pg: asyncpg.Connection) -> list[Value]:
    """Return the data of all rows."""
    return [json.loads(row["data"]) for row in await pg.fetch("select data::text from aiosess_sessions")]


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
    assert record.getMessage() == "session data 'age' is str, not int"


@pytest.mark.parametrize("kind", [[], {}, "", 0, list[int], (int, str)], ids=repr)
@pytest.mark.parametrize("key", ["there", "absent"])
async def test_a_default_in_the_place_of_the_type_is_refused(key: str, kind: Value, site: Site, alice: Browser) -> None:
    """get("cart", []) looks like a default: the error comes at once, and not when the key is there for once."""
    await alice.run(lambda s: s.set("there", [1]))
    for browser in (alice, await site.browser()):
        with pytest.raises(TypeError, match="default="):
            await browser.run(job(lambda s: s.get(key, kind)))


async def test_get_with_a_default(site: Site, alice: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """The default stands for what is absent, for what is of another type, and for everything of nobody."""
    await alice.run(lambda s: s.update({"list": [1], "none": None, "false": False}))

    def read(sessions: SessionManager) -> Value:
        return [
            sessions.get("list", list, default=[]),
            sessions.get("list", default=[]),
            sessions.get("list", dict, default={}),
            sessions.get("absent", list, default=[]),
            sessions.get("absent", default=0),
            sessions.get("none", default=0),
            sessions.get("none", int, default=0),
            sessions.get("false", bool, default=True),
        ]

    with caplog.at_level(logging.WARNING, "aiosess"):
        assert await alice.run(job(read)) == [[1], [1], {}, [], 0, None, 0, False]
    assert len([record for record in caplog.records if record.name == "aiosess"]) == 1
    assert await (await site.browser()).run(job(read)) == [[], [], {}, [], 0, 0, 0, True]


async def test_key_in_sessions(site: Site, alice: Browser) -> None:
    """``key in sessions`` tells a None that was set from a key that is absent; nobody has a key."""
    await alice.run(lambda s: s.set("none", None))
    assert await alice.run(job(lambda s: ("none" in s, "absent" in s, 1 in s))) == (True, False, False)
    assert await (await site.browser()).run(job(lambda s: "none" in s)) is False


async def test_values_are_the_requests_own(alice: Browser) -> None:
    """Changing a value in place changes nothing for other requests."""
    await alice.run(lambda s: s.set("list", [1]))
    await alice.run(job(lambda s: s.get("list").append(2)))
    assert await alice.run(job(lambda s: s.get("list"))) == [1]


async def test_set_and_remove(alice: Browser, pg: asyncpg.Connection) -> None:
    """What is set is seen at once, in the request, in the row and in the next request; so is its removal."""

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


async def test_update_sets_several_keys(alice: Browser, pg: asyncpg.Connection) -> None:
    """All keys of an update are there, in the request and in the row; those it does not name stay."""

    async def change(sessions: SessionManager) -> Value:
        await sessions.set("kept", 0)
        await sessions.set("changed", 0)
        await sessions.update({"changed": {"deep": [1]}, "new": None})
        await sessions.update({})
        return sessions.get("changed"), "new" in sessions

    assert await alice.run(change) == ({"deep": [1]}, True)
    assert await data_of(pg) == [{"kept": 0, "changed": {"deep": [1]}, "new": None}]


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize(
    "values", [{"a": 1, "b": b""}, {"a": 1, "b\0": 1}, {"a": 1, "b": "x" * 17_000}, {"a": 1, 2: 2}, [("a", 1)], None]
)
async def test_bad_update_changes_nothing(values: Value, alice: Browser, pg: asyncpg.Connection) -> None:
    """One key or value that cannot be kept exactly, or is too large, refuses all of them."""
    await alice.run(lambda s: s.set("kept", 1))
    with pytest.raises(aiosess.InvalidData):
        await alice.run(lambda s: s.update(values))
    assert await data_of(pg) == [{"kept": 1}]


async def test_update_nests_as_deep_as_set(alice: Browser, pg: asyncpg.Connection) -> None:
    """A value that set() takes, update() takes too."""
    value: Value = 1
    for _ in range(32):
        value = [value]
    await alice.run(lambda s: s.set("a", value))
    await alice.run(lambda s: s.update({"b": value}))
    with pytest.raises(aiosess.InvalidData, match="nested"):
        await alice.run(lambda s: s.update({"b": [value]}))
    assert await data_of(pg) == [{"a": value, "b": value}]


@pytest.mark.threat("SES-04")
@pytest.mark.parametrize("write", ["set", "update", "increment", "remove_key"])
async def test_write_brings_no_ended_session_back(
    write: str, site: Site, alice: Browser, pg: asyncpg.Connection
) -> None:
    """A write of a request that was checked before the session ended says so, and makes no row."""

    async def end_and_write(sessions: SessionManager) -> None:
        assert sessions.is_authenticated
        await pg.execute("delete from aiosess_sessions")
        arguments: Value = {"set": ("key", 1), "update": ({"key": 1},)}.get(write, ("key",))
        try:
            await getattr(sessions, write)(*arguments)
        finally:
            assert not sessions.is_authenticated

    with pytest.raises(aiosess.SessionRevoked):
        await alice.run(end_and_write)
    assert await data_of(pg) == []
    with pytest.raises(aiosess.NotAuthenticated):
        await (await site.browser()).run(lambda s: s.increment("key"))


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
