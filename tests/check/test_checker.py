"""The checker: what a request costs, and which batch it joins."""

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

from aiosess._check import checker, flight
from aiosess._check.checker import MAX_IN_FLIGHT
from aiosess._postgres.rows import Ended
from aiosess._row import Row
from aiosess._token.keys import Keyring
from tests.check.room import NEVER, Gate, Room, answered, end_elsewhere, make_room, turn, until, user_of
from tests.world.ageing import age
from tests.world.app import SECRET, make_app
from tests.world.site import visit

if TYPE_CHECKING:
    from tests.world.wire import Reply


HUNDRED = 100


# What a request costs


@pytest.mark.parametrize("held", [False, True])
async def test_lone_request_costs_one_query_at_once(room: Room, monkeypatch: pytest.MonkeyPatch, held: bool) -> None:  # noqa: FBT001 - a case
    """When nothing is in flight a request goes at once, whatever the timers are, and is one query."""
    monkeypatch.setattr(checker, "SLOW_AFTER", NEVER)
    token = await room.login()
    if held:
        await room.check(token)
    before = room.checks
    assert user_of(await room.check(token)) == "ada"
    assert room.checks == before + 1


@pytest.mark.threat("DOS-02")
async def test_parallel_requests_of_one_session_are_one_query(room: Room) -> None:
    """A hundred requests of one session that come at once are one query; each has its answer."""
    token = await room.login()
    rows = await room.ask_all(*[token] * HUNDRED)
    assert [user_of(row) for row in rows] == ["ada"] * HUNDRED
    assert room.checks == 1


async def test_parallel_requests_of_many_sessions_are_one_query(room: Room) -> None:
    """A hundred requests of a hundred sessions are one query, and nobody gets another's row; held or not."""
    tokens = await room.logins(HUNDRED)
    for checks in (1, 2):
        rows = await room.ask_all(*tokens)
        assert [user_of(row) for row in rows] == [f"user{number}" for number in range(HUNDRED)]
        assert room.checks == checks


class Wanted:
    """A flight of one batch: what the test asks, and what comes back."""

    def __init__(self, rows: list[tuple[UUID, int]]) -> None:
        """Ask for (id, revision) pairs."""
        self._rows: list[tuple[UUID, int]] | None = rows
        self.changed: dict[UUID, Row | None] = {}

    async def ask(self, *, lingers: bool) -> tuple[list[UUID], list[int]] | None:  # noqa: ARG002 - it never has more to ask
        """Ask once."""
        rows, self._rows = self._rows, None
        return None if rows is None else ([session_id for session_id, _ in rows], [revision for _, revision in rows])

    def answer(self, changed: dict[UUID, Row | None]) -> None:
        """Take the answer."""
        self.changed = changed


async def test_unchanged_rows_return_nothing(room: Room, pg: asyncpg.Connection) -> None:
    """Of many (id, revision) pairs only those come back that are not what PostgreSQL has."""
    same, changed, ended, expired = await room.logins(4)
    await age(pg, 0, f"id = '{changed.session_id}'")
    await end_elsewhere(pg, ended)
    await pg.execute("alter table aiosess_sessions disable trigger all")
    await age(pg, 365 * 86400, f"id = '{expired.session_id}'")
    await pg.execute("alter table aiosess_sessions enable trigger all")
    asked = [token.session_id for token in (same, changed, ended, expired)]
    answer = await room.rows.changed(asked, [0] * len(asked))
    assert user_of(answer.pop(changed.session_id)) == "user1"
    assert answer == {ended.session_id: Ended.DELETED, expired.session_id: Ended.EXPIRED}


@pytest.mark.threat("DOS-02")
async def test_parallel_requests_over_http_are_two_queries(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred real requests of one session that wait for the pool are the first one's query and one for the rest."""
    monkeypatch.setattr(checker, "SLOW_AFTER", NEVER)
    async with make_room(dsn, max_size=1) as room:
        token = Keyring(SECRET).sign(await room.login(), "aiosess")
        async with visit(make_app(dsn, pool=room.pool)) as site:
            inner = site.installation.checker
            async with room.pool.acquire():
                asked = [asyncio.create_task(site.present(token))]
                await until(lambda: len(inner._in_flight) == 1)
                asked += [asyncio.create_task(site.present(token)) for _ in range(HUNDRED - 1)]
                await until(
                    lambda: inner._open_batch.batch is not None and len(inner._open_batch.batch.waiters) == HUNDRED - 1
                )
            replies: list[Reply] = await answered(*asked)
        assert [reply.user for reply in replies] == ["ada"] * HUNDRED
        assert room.checks == 2


# A request never joins a batch that was already sent


@pytest.mark.threat("SES-03")
@pytest.mark.parametrize("held", [False, True])
async def test_request_never_joins_a_batch_already_sent(room: Room, gated: Room, gate: Gate, held: bool) -> None:  # noqa: FBT001 - a case
    """While an old answer is on its way, a request that comes after an acknowledged revocation sees the revocation."""
    token = await room.login("slow")
    if held:
        await gated.check(token)
    await gate.close()
    early = gated.ask(token)
    await gate.stopped()
    await room.store.revoke(token.session_id)
    late = gated.ask(token)
    await turn()
    await gate.open()
    assert [user_of(row) for row in await answered(early, late)] == ["slow", None]


@pytest.mark.threat("SES-03")
async def test_batch_that_waits_sees_what_was_acknowledged_before_it_is_sent(
    room: Room, gated: Room, gate: Gate
) -> None:
    """Requests that wait behind a slow batch share the next one, which asks anew."""
    token = await room.login("slow")
    await gate.close()
    early = gated.ask(token)
    await gate.stopped()
    middle = gated.ask(token)
    await turn()
    await room.store.revoke(token.session_id)
    late = gated.ask(token)
    await gate.open()
    first, _, last = await answered(early, middle, late)
    assert (user_of(first), last) == ("slow", None)


async def test_requests_behind_a_batch_share_the_next_and_its_connection(
    room: Room, gated: Room, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while a batch is in flight goes out together when it is answered, on the same connection."""
    monkeypatch.setattr(checker, "SLOW_AFTER", NEVER)
    monkeypatch.setattr(flight, "KEEP_CONNECTION", NEVER)
    token = await room.login("slow")
    await gate.close()
    asked = [gated.ask(token)]
    await gate.stopped()
    for _ in range(HUNDRED):
        asked.append(gated.ask(token))
        await turn()
    await gate.open()
    assert [user_of(row) for row in await answered(*asked)] == ["slow"] * (HUNDRED + 1)
    assert (gated.checks, gated.acquired) == (2, [1])


async def test_slow_batch_is_not_waited_for(room: Room, gated: Room, gate: Gate) -> None:
    """A batch that hangs does not hold up the requests that come after it."""
    slow, quick = await room.login("slow"), await room.login("quick")
    await gate.close()
    early = gated.ask(slow)
    await gate.stopped()
    assert user_of(await gated.check(quick)) == "quick"
    assert not early.done()
    await gate.open()
    assert user_of(await early) == "slow"


async def test_batch_that_follows_closely_finds_the_connection_waiting(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection stays out for a moment after a batch, and the next batch goes out on it without another one."""
    monkeypatch.setattr(flight, "LINGER", NEVER)
    monkeypatch.setattr(flight, "KEEP_CONNECTION", NEVER)
    async with make_room(dsn) as room:
        token = await room.login()
        before = room.acquired[0]
        assert await room.check(token)
        await until(lambda: room.checker._open_batch.is_awaited)
        assert await room.check(token)
        assert (room.acquired[0] - before, room.checks) == (1, 2)
        for task in room.checker._in_flight:
            task.cancel()


async def test_connection_that_no_batch_follows_goes_back(room: Room) -> None:
    """When no batch follows in that moment, the connection is back in the pool."""
    token = await room.login()
    assert await room.check(token)
    await until(lambda: not room.checker._in_flight)
    assert room.pool.get_idle_size() == room.pool.get_size()
    assert await room.check(token)


async def test_only_connection_is_given_back_at_once(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pool of one connection nobody waits for a batch that may follow."""
    monkeypatch.setattr(flight, "LINGER", NEVER)
    async with make_room(dsn, max_size=1) as room:
        token = await room.login()
        assert await room.check(token)
        await until(lambda: not room.checker._in_flight)
        assert room.pool.get_idle_size() == 1


@pytest.mark.threat("DB-04")
async def test_batches_in_flight_are_bounded(
    room: Room, gated: Room, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many batches hang, no more than MAX_IN_FLIGHT take connections; what else comes is one batch."""
    monkeypatch.setattr(checker, "SLOW_AFTER", 0)
    token = await room.login("slow")
    await gate.close()
    asked = []
    for number in range(MAX_IN_FLIGHT):
        asked.append(gated.ask(token))
        await gate.stopped(number + 1)
    for _ in range(HUNDRED):
        asked.append(gated.ask(token))
        await turn()
    assert len(gated.checker._in_flight) == MAX_IN_FLIGHT
    assert gated.pool.get_size() == MAX_IN_FLIGHT
    await gate.open()
    assert [user_of(row) for row in await answered(*asked)] == ["slow"] * len(asked)
    assert gated.checks == MAX_IN_FLIGHT + 1
