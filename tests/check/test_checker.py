"""The batched check: what a request may learn from a batch, what it costs, and what faults do to it."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from contextvars import Context, ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from aiosess import StoreUnavailable
from aiosess._check import checker, flight
from aiosess._check.checker import MAX_IN_FLIGHT
from aiosess._client.device import describe
from aiosess._postgres import outage
from aiosess._postgres.login import Login
from aiosess._postgres.schema import prepare
from aiosess._postgres.statements import statement
from aiosess._row import Row
from aiosess._token.keys import Keyring
from aiosess._token.token import Token, new_token
from aiosess.config import SessionConfig
from tests.world.ageing import age
from tests.world.app import SECRET, make_app
from tests.world.parts import Parts, make_parts
from tests.world.relay import relayed
from tests.world.site import Site, visit
from tests.world.waiting import eventually
from tests.world.wire import COOKIE, Reply, request_bytes

NEVER = 3600.0  # seconds; no test lasts so long
LONG = 60.0  # seconds; only what hangs takes so long
HUNDRED = 100


@dataclass
class Room:
    """
    A checker, its store and its database as setup() puts them together.

    Attributes:
        pool: The pool that was handed in.
        statements: Every statement that went through the pool.
        acquired: How many connections were taken out of it; a list of one number.

    """

    parts: Parts
    pool: asyncpg.Pool
    statements: list[str]
    acquired: list[int]

    def __getattr__(self, name: str) -> Any:
        """Return one of the parts."""
        return getattr(self.parts, name)

    @property
    def checks(self) -> int:
        """How many queries the checker has made."""
        return self.statements.count(statement("check", self.parts.config.schema))

    @property
    def joined(self) -> int:
        """How many requests have joined the batch that is not sent yet."""
        waiting = self.checker._open_batch.batch
        return 0 if waiting is None else len(waiting.waiters)

    async def check(self, token: Token) -> Row | None:
        """Check a token; a check that never ends is an error."""
        async with asyncio.timeout(LONG):
            return await self.parts.checker.check(token)

    def ask(self, token: Token) -> asyncio.Task[Row | None]:
        """Check a token in the background, as a request does."""
        return asyncio.create_task(self.check(token))

    def ask_all(self, *tokens: Token) -> "asyncio.Future[list[Row | BaseException | None]]":
        """Check tokens in the background, all at once."""
        return asyncio.gather(*(self.check(token) for token in tokens), return_exceptions=True)

    async def login(self, user: str = "ada") -> Token:
        """Make a session."""
        token = new_token(uuid7(), 1, datetime.now(UTC) + timedelta(days=30))
        row = await self.parts.logins.authenticate(
            Login(
                token=token,
                user_id=user,
                ip=None,
                device=describe(None),
                data="{}",
                idle_timeout=timedelta(days=30),
                absolute_timeout=timedelta(days=90),
                remember=True,
                began=monotonic(),
                earlier_id=None,
            )
        )
        assert row is not None
        return token

    async def logins(self, count: int) -> list[Token]:
        """Make sessions of different users."""
        return [await self.login(f"user{number}") for number in range(count)]


@asynccontextmanager
async def make_room(dsn: str, *, max_size: int = 10, **options: Any) -> AsyncIterator[Room]:
    """Make a room for a while; options are those of SessionConfig."""
    statements: list[str] = []
    acquired = [0]

    async def listen(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(lambda query: statements.append(query.query))

    async def count(_connection: object) -> None:
        acquired[0] += 1

    config = SessionConfig(**options)
    pool = await asyncpg.create_pool(dsn, min_size=0, max_size=max_size, init=listen, setup=count)
    parts = make_parts(config)
    parts.database.use(pool)
    room = Room(parts, pool, statements, acquired)
    try:
        yield room
    finally:
        try:
            async with asyncio.timeout(LONG):
                await asyncio.gather(*room.checker._in_flight, return_exceptions=True)
                await parts.database.close()
                await pool.close()
        finally:
            pool.terminate()


@pytest.fixture
async def room(dsn: str) -> AsyncIterator[Room]:
    """Return a room with the defaults."""
    async with make_room(dsn) as made:
        yield made


class Gate:
    """
    A schema in which the check stops in the middle, after it has taken its snapshot, while the gate is closed.

    So an answer can be made to arrive late. Only sessions of users whose name begins with "slow" are stopped.
    """

    VIEW = """
        drop schema if exists gated cascade;
        create schema gated;
        create view gated.aiosess_sessions as select * from public.aiosess_sessions
        where case when user_id like 'slow%' then pg_advisory_xact_lock_shared(1) is not null else true end
    """
    STOPPED = """
        from pg_locks join pg_database d on d.oid = database
        where datname = current_database() and locktype = 'advisory' and not granted
    """

    def __init__(self, pg: asyncpg.Connection) -> None:
        """Speak through a connection of one's own."""
        self.pg = pg

    async def close(self) -> None:
        """Stop every check from here on."""
        await self.pg.execute("select pg_advisory_lock(1)")

    async def open(self) -> None:
        """Let all of them go on."""
        await self.pg.execute("select pg_advisory_unlock(1)")

    async def stopped(self, count: int = 1) -> None:
        """Wait until so many checks stand before the gate."""
        await eventually(lambda: self.pg.fetchval(f"select count(*) = $1 {self.STOPPED}", count))

    async def end_stopped(self) -> None:
        """Terminate the connections that stand before the gate."""
        await self.pg.execute(f"select pg_terminate_backend(pid, 5000) {self.STOPPED}")


@pytest.fixture
async def gate(pg: asyncpg.Connection) -> AsyncIterator[Gate]:
    """Return an open gate."""
    await pg.execute(Gate.VIEW)
    yield Gate(pg)
    await pg.execute("select pg_advisory_unlock_all(); drop schema gated cascade")


@pytest.fixture
async def gated(dsn: str, gate: Gate) -> AsyncIterator[Room]:
    """Return a room whose checks the gate can stop; sessions are made and ended in the plain one."""
    assert isinstance(gate, Gate)
    async with make_room(dsn, schema="gated") as made:
        yield made


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """Return what the event loop complains about: exceptions and tasks that nobody has fetched or awaited."""
    heard: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: heard.append(context))
    yield heard
    loop.set_exception_handler(before)


async def turn() -> None:
    """Let everybody run who can, once."""
    await asyncio.sleep(0)


async def end_elsewhere(pg: asyncpg.Connection, token: Token) -> None:
    """End a session behind the checker's back, as another process does."""
    assert await pg.execute("delete from aiosess_sessions where id = $1", token.session_id) == "DELETE 1"


async def lose_connections(pg: asyncpg.Connection, room: Room) -> None:
    """Terminate every connection that is idle but the test's own, and wait until the room knows."""
    epoch = room.checker._held.epoch
    await pg.execute(
        """
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state = 'idle'
        """
    )
    await until(lambda: room.checker._held.epoch > epoch)


async def until(ask: Callable[[], bool]) -> None:
    """Wait until something is so."""
    await eventually(ask)


async def answered(*tasks: "asyncio.Future[Any]") -> list[Any]:
    """Return what came of tasks; a task that never ends is an error."""
    async with asyncio.timeout(LONG):
        return await asyncio.gather(*tasks, return_exceptions=True)


def user_of(row: object) -> str | None:
    """Return whose row it is, None for nobody."""
    assert row is None or isinstance(row, Row), row
    return None if row is None else row.user_id


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
    assert {session_id: user_of(row) for session_id, row in answer.items()} == {
        changed.session_id: "user1",
        ended.session_id: None,
        expired.session_id: None,
    }


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


# Requests that are cancelled


@pytest.mark.threat("DOS-02")
@pytest.mark.parametrize(
    "case",
    list(
        product(
            ["before the batch is sent", "in flight", "waiting behind another"],
            ["the first", "the middle", "all but one", "all"],
        )
    ),
    ids=" - ".join,
)
async def test_cancelled_request_cancels_no_other(
    room: Room, gated: Room, gate: Gate, complaints: list[dict[str, Any]], case: tuple[str, str]
) -> None:
    """Whoever is cancelled, and whenever, the others get their answer, and nothing is logged about those who left."""
    state, who = case
    token = await room.login("slow")
    await gate.close()
    ahead = []
    if state == "waiting behind another":
        ahead = [gated.ask(token)]
        await gate.stopped()
    asked = [gated.ask(token) for _ in range(10)]
    await turn()
    assert gated.joined == 10
    if state == "in flight":
        await gate.stopped()
    leaving = {"the first": [0], "the middle": [5], "all but one": range(9), "all": range(10)}[who]
    for number in leaving:
        asked[number].cancel()
    await turn()
    assert [number for number in range(10) if asked[number].done()] == list(leaving), "nobody waits to be let go"
    await gate.open()
    outcomes = await answered(*ahead, *asked)
    left = [outcome for outcome in outcomes if isinstance(outcome, asyncio.CancelledError)]
    assert len(left) == {"the first": 1, "the middle": 1, "all but one": 9, "all": 10}[who]
    assert {user_of(outcome) for outcome in outcomes if outcome not in left} <= {"slow"}
    assert user_of(await gated.check(token)) == "slow"
    del outcomes, asked, left
    gc.collect()
    assert complaints == []


async def test_check_may_be_waited_for_in_any_way(room: Room) -> None:
    """What check() returns is a future like any other: gathered, shielded, given a timeout, awaited late or twice."""
    token = await room.login()
    check = room.checker.check
    assert {user_of(row) for row in await asyncio.gather(check(token), check(token))} == {"ada"}
    assert user_of(await asyncio.wait_for(check(token), LONG)) == "ada"
    assert user_of(await asyncio.shield(check(token))) == "ada"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(check(token), 0)
    early = check(token)
    assert user_of(await room.check(token)) == "ada"
    assert [user_of(await early), user_of(await early)] == ["ada", "ada"]
    left = check(token)
    asyncio.ensure_future(left).cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    twice = check(token)
    both = await asyncio.wait([asyncio.ensure_future(_await(twice)) for _ in range(2)], timeout=LONG)
    assert [user_of(task.result()) for task in both[0]] == ["ada", "ada"]
    called: list[object] = []
    listened = asyncio.ensure_future(check(token))
    listened.add_done_callback(called.append)
    assert listened.remove_done_callback(called.append) == 1
    await room.check(token)
    listened.add_done_callback(called.append)
    await turn()
    assert called == [listened], "removed before it was done, added again afterwards"


async def test_request_goes_on_in_its_own_context(room: Room) -> None:
    """What a request sets in its context after a check is there after the next one, in an empty context too."""
    token = await room.login()
    variable: ContextVar[str] = ContextVar("variable")

    async def ask_twice() -> str:
        await room.checker.check(token)
        variable.set("kept")
        await room.checker.check(token)
        return variable.get()

    assert await asyncio.create_task(ask_twice(), context=Context()) == "kept"


async def _await(check: Awaitable[Row | None]) -> Row | None:
    return await check


def test_request_that_ends_the_program_leaves_the_others_their_answers(dsn: str) -> None:
    """A SystemExit in one request of a batch goes on to the loop; the others still have their answers if it runs on."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner, ExitStack() as stack:

        async def exit_in_the_second_of_three() -> None:
            room = await rooms.__aenter__()
            stack.callback(lambda: runner.run(rooms.__aexit__(None, None, None)))
            token = await room.login()
            requests = [room.check(token), _exit_after(room.check(token)), room.check(token)]
            asked.extend(map(asyncio.create_task, requests))
            await asyncio.wait(asked)

        async def rest() -> list[Row | BaseException | None]:
            async with asyncio.timeout(LONG / 4):
                return await answered(asked[0], asked[2])

        asked: list[asyncio.Task[Any]] = []
        rooms = make_room(dsn)
        with pytest.raises(SystemExit):
            runner.run(exit_in_the_second_of_three())
        assert [user_of(row) for row in runner.run(rest())] == ["ada", "ada"]
        assert isinstance(asked[1].exception(), SystemExit)


async def _exit_after(check: Awaitable[Row | None]) -> None:
    await check
    raise SystemExit


@pytest.mark.threat("DOS-02")
@pytest.mark.parametrize("fate", ["answered", "failed"])
async def test_request_cancelled_when_already_answered(dsn: str, complaints: list[dict[str, Any]], fate: str) -> None:
    """A request that is cancelled between its answer and its next step leaves quietly; so does one that failed."""
    async with make_room(dsn) as room:
        token = await room.login()
        if fate == "failed":
            await room.pool.close()
        others: list[asyncio.Task[Row | None]] = []

        async def ask_and_cancel_the_rest() -> None:
            try:
                await room.check(token)
            finally:  # the first to be woken: the others have their answers, and have not run
                for other in others:
                    other.cancel()

        first = asyncio.create_task(ask_and_cancel_the_rest())
        others += [room.ask(token) for _ in range(5)]
        outcome, *left = await answered(first, *others)
        assert isinstance(outcome, StoreUnavailable) == (fate == "failed")
        assert [type(each) for each in left] == [asyncio.CancelledError] * 5
        others.clear()
        del first, outcome, left
    gc.collect()
    assert complaints == []


# Batches that fail


@pytest.mark.threat("DB-05")
async def test_batch_on_a_lost_connection_is_asked_again(room: Room, gated: Room, gate: Gate) -> None:
    """A batch whose connection ends in the middle is asked once more, and everybody is answered."""
    token = await room.login("slow")
    await gate.close()
    asked = [gated.ask(token) for _ in range(10)]
    await gate.stopped()
    await gate.end_stopped()
    await gate.stopped()
    await gate.open()
    assert [user_of(row) for row in await answered(*asked)] == ["slow"] * 10
    assert gated.acquired == [2]


@pytest.mark.threat("DB-05")
async def test_batch_that_fails_twice_fails_for_everybody(
    room: Room, gated: Room, gate: Gate, complaints: list[dict[str, Any]]
) -> None:
    """A batch that loses its connection twice is StoreUnavailable for all, each with an error of its own."""
    token = await room.login("slow")
    await gate.close()
    asked = [gated.ask(token) for _ in range(10)]
    for _ in range(2):
        await gate.stopped()
        await gate.end_stopped()
    errors = await answered(*asked)
    assert [type(error) for error in errors] == [StoreUnavailable] * 10
    assert len({id(error) for error in errors}) == 10
    await gate.open()
    await eventually(lambda: _answers(gated, token))
    del errors, asked
    gc.collect()
    assert complaints == []


async def _answers(room: Room, token: Token) -> bool:
    try:
        return await room.check(token) is not None
    except StoreUnavailable:
        return False


@pytest.mark.threat("DB-05")
async def test_stopped_server_fails_everybody_at_once(dsn: str) -> None:
    """When the server goes away those in flight and those waiting are StoreUnavailable, long before the deadline."""
    async with make_room(dsn) as direct:
        token = await direct.login()
    async with relayed(dsn) as relay, make_room(relay.dsn, store_timeout=timedelta(seconds=NEVER)) as room:
        await room.check(token)
        relay.gate.clear()
        asked = [room.ask(token)]
        for _ in range(3):
            await turn()
        asked += [room.ask(token) for _ in range(10)]
        await turn()
        assert room.joined == 10
        await relay.close()
        errors = await answered(*asked, room.ask(token))
        assert [type(error) for error in errors] == [StoreUnavailable] * 12


async def test_failing_batch_leaves_those_alone_who_left(room: Room, gated: Room, gate: Gate) -> None:
    """A request that was cancelled before its batch failed stays cancelled; the others learn of the failure."""
    token = await room.login("slow")
    await gate.close()
    gone, staying = gated.ask(token), gated.ask(token)
    await gate.stopped()
    gone.cancel()
    await turn()
    for task in gated.checker._in_flight:
        task.cancel()
    assert [type(each) for each in await answered(gone, staying)] == [asyncio.CancelledError, StoreUnavailable]


async def test_end_of_the_loop_leaves_nobody_waiting(room: Room, gated: Room, gate: Gate) -> None:
    """When the tasks of the loop are cancelled with a batch in flight, its requests are StoreUnavailable."""
    token = await room.login("slow")
    await gate.close()
    asked = gated.ask(token)
    await gate.stopped()
    for task in gated.checker._in_flight:
        task.cancel()
    assert [type(error) for error in await answered(asked)] == [StoreUnavailable]


async def test_cancelled_flight_that_has_answered_harms_nobody(room: Room) -> None:
    """When the task of a batch is cancelled between its answer and the release, later requests are answered."""
    token = await room.login()
    for _ in range(3):
        assert user_of(await room.check(token)) == "ada"
        flights = list(room.checker._in_flight)
        assert flights
        for task in flights:
            task.cancel()
        await answered(*flights)


async def test_batch_that_waits_is_sent_once_when_two_end_together(
    room: Room, gated: Room, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When several batches end in the same moment, what waits behind them is sent, and once."""
    monkeypatch.setattr(checker, "MAX_IN_FLIGHT", 2)
    token = await room.login("slow")
    await gate.close()
    early = [gated.ask(token)]
    await gate.stopped(1)
    early.append(gated.ask(token))
    await gate.stopped(2)
    late = gated.ask(token)
    await turn()
    for task in gated.checker._in_flight:
        task.cancel()
    assert [type(error) for error in await answered(*early)] == [StoreUnavailable] * 2
    await gate.open()
    assert user_of(await late) == "slow"
    assert gated.acquired == [3]


@pytest.mark.threat("DB-04")
async def test_hanging_server_holds_nobody_beyond_the_deadline(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network that swallows everything, each request fails within the deadline, counted from when it came."""
    monkeypatch.setattr(checker, "SLOW_AFTER", 0)
    deadline = 3.0
    async with make_room(dsn) as direct:
        token = await direct.login()
    async with relayed(dsn) as relay, make_room(relay.dsn, store_timeout=timedelta(seconds=deadline)) as room:
        await room.check(token)
        relay.swallows = True

        async def ask() -> None:
            # Half as long again leaves room for a slow machine; who is sent late and has a whole deadline then is not.
            async with asyncio.timeout(deadline * 1.5):
                with pytest.raises(StoreUnavailable):
                    await room.check(token)

        asked = []
        for _ in range(MAX_IN_FLIGHT * 3):
            asked.append(asyncio.create_task(ask()))
            await turn()
            await turn()
            await turn()
        assert len(room.checker._in_flight) == MAX_IN_FLIGHT
        assert room.joined > 0
        assert await answered(*asked) == [None] * len(asked)
        relay.swallows = False
        await eventually(lambda: _answers(room, token))


@pytest.mark.threat("DB-04")
async def test_pool_that_is_kept_busy_holds_nobody_beyond_the_deadline(dsn: str) -> None:
    """While the application keeps all connections for itself, requests fail; afterwards they are answered."""
    async with make_room(dsn) as patient:
        token = await patient.login()
    async with make_room(dsn, max_size=1, store_timeout=timedelta(seconds=0.3)) as room:
        async with room.pool.acquire():
            errors = await answered(*(room.ask(token) for _ in range(10)))
            assert [type(error) for error in errors] == [StoreUnavailable] * 10
        await eventually(lambda: _answers(room, token))


@pytest.mark.threat("DB-04")
async def test_connection_that_hangs_on_its_way_back_is_not_lost_to_the_pool(dsn: str) -> None:
    """A network that dies between the answer and the pool's reset costs one connection, not its place in the pool."""
    async with make_room(dsn) as direct:
        token = await direct.login()
    async with (
        relayed(dsn) as relay,
        make_room(relay.dsn, max_size=1, store_timeout=timedelta(seconds=0.5)) as room,
    ):

        async def ask() -> None:
            await room.check(token)
            relay.swallows = True

        await ask()
        await until(lambda: not room.checker._in_flight)
        relay.swallows = False
        await eventually(lambda: _answers(room, token))


@pytest.mark.threat("DOS-03", "DB-04", "DB-05")
@pytest.mark.parametrize("fault", ["hangs", "stopped"])
async def test_saturated_store_is_503_without_pile_up(dsn: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 2 connections and a store that is gone, 500 requests are 503, later ones at once; then all is well again."""
    monkeypatch.setattr(outage, "PROBE_TIMEOUT", 0.2)
    async with make_room(dsn) as direct:
        token = Keyring(SECRET).sign(await direct.login(), "aiosess")
    ask = request_bytes("/me", f"Cookie: {COOKIE}={token}".encode())
    async with relayed(dsn) as relay:
        port = urlsplit(relay.dsn).port
        app = make_app(relay.dsn, pool_size=2, store_timeout=timedelta(seconds=0.5))
        async with visit(app) as site:
            wires = [await site.wire() for _ in range(100)]
            assert (await wires[0].ask(ask)).user == "ada"
            if fault == "hangs":
                relay.swallows = True
            else:
                await relay.close()
            # 500 deadlines one after another on 2 connections would take twice as long, without retries.
            async with asyncio.timeout(60):
                for _ in range(5):
                    replies = await asyncio.gather(*(wire.ask(ask) for wire in wires))
                    assert {(reply.status, reply.headers["Retry-After"], reply.token) for reply in replies} == {
                        (503, "2", None)
                    }
            assert relay.connections < 50
            await until(lambda: site.installation.database.outage.is_on)
            made = relay.connections
            async with asyncio.timeout(60):  # 100 s, if each waited for its deadline
                for _ in range(200):
                    assert (await wires[0].ask(ask)).status == 503
            assert relay.connections < made + 50  # the probe's
            if fault == "hangs":
                relay.swallows = False
            else:
                relay._server = await asyncio.start_server(relay._accept, "127.0.0.1", port)
            await eventually(lambda: _is_in(site, token))


async def _is_in(site: Site, token: str) -> bool:
    reply = await site.present(token)
    return reply.status == 200 and reply.user == "ada"


# What is remembered


@pytest.mark.parametrize("end", ["deleted", "expired"])
async def test_ended_session_costs_no_more_queries(room: Room, pg: asyncpg.Connection, end: str) -> None:
    """A session whose row is gone or out of time is asked for once; then the process knows."""
    token = await room.login()
    await room.check(token)
    if end == "deleted":
        await end_elsewhere(pg, token)
    else:
        await age(pg, 365 * 86400)
    before = room.checks
    assert await room.ask_all(*[token] * 10) == [None] * 10
    assert [await room.check(token) for _ in range(10)] == [None] * 10
    assert room.checks == before + 1


@pytest.mark.threat("DOS-01", "SES-10")
async def test_memory_of_ended_sessions_is_bounded(dsn: str) -> None:
    """Ten thousand rightly signed tokens of no session fill no memory beyond its bound, and are all anonymous."""
    until_then = datetime.now(UTC) + timedelta(days=30)
    async with make_room(dsn, max_held_sessions=100) as room:
        token = await room.login()
        for _ in range(10):
            forged = [new_token(uuid7(), 1, until_then) for _ in range(1000)]
            assert set(await room.ask_all(*forged)) == {None}
            assert len(room.checker._held._known) <= 100
        assert room.checks == 10
        assert user_of(await room.check(token)) == "ada"
        assert await room.store.count() == 1


@pytest.mark.threat("DOS-01")
async def test_held_rows_are_bounded(dsn: str) -> None:
    """More sessions than may be held are all answered rightly, and no more than that are held."""
    async with make_room(dsn, max_held_sessions=10) as room:
        tokens = await room.logins(30)
        for _ in range(3):
            rows = await room.ask_all(*tokens)
            assert [user_of(row) for row in rows] == [f"user{number}" for number in range(30)]
            assert len(room.checker._held._known) <= 10


async def test_older_row_never_replaces_a_newer_one(dsn: str) -> None:
    """A row that arrives late, from a slower write or check, does not take the place of a newer one."""
    async with make_room(dsn, max_staleness=timedelta(seconds=NEVER)) as room:
        token = await room.login()
        old = await room.check(token)
        new = await room.rows.patch(token.session_id, "key", "1")
        assert old is not None
        assert new is not None
        room.signals.changed.send(new)
        room.signals.changed.send(old)
        assert await room.check(token) is new
        assert room.checks == 1


async def test_late_answer_never_replaces_a_newer_row(dsn: str, room: Room, gate: Gate) -> None:
    """An answer that was on its way while a write of this process came back does not hide the write."""
    token = await room.login("slow")
    async with make_room(dsn, schema="gated", max_staleness=timedelta(seconds=NEVER)) as gated:
        await gate.close()
        early = gated.ask(token)
        await gate.stopped()
        new = await room.rows.patch(token.session_id, "key", "1")
        assert new is not None
        gated.signals.changed.send(new)
        await gate.open()
        row = await early
        assert row is not None
        assert row.revision < new.revision
        assert await gated.check(token) is new


async def test_ended_session_is_never_resurrected_by_a_row(room: Room) -> None:
    """A row that was read before a session ended, and is handed over after, does not bring it back."""
    token = await room.login()
    row = await room.check(token)
    assert row is not None
    room.signals.ended.send(token.session_id)
    room.signals.ended.send(token.session_id)
    room.signals.changed.send(row)
    room.signals.changed.send(replace(row, revision=row.revision + 1))
    assert await room.check(token) is None
    assert room.checks == 1


@pytest.mark.threat("SES-04")
async def test_ended_session_is_never_resurrected_by_a_late_answer(room: Room, gated: Room, gate: Gate) -> None:
    """An answer that was on its way while this process ended the session does not bring it back."""
    token = await room.login("slow")
    await gate.close()
    early = gated.ask(token)
    await gate.stopped()
    await room.store.revoke(token.session_id)
    gated.signals.ended.send(token.session_id)
    await gate.open()
    assert user_of(await early) == "slow"
    assert await gated.check(token) is None


async def test_forgotten_row_is_read_anew(dsn: str) -> None:
    """A row that was forgotten is read again, whatever may be held."""
    async with make_room(dsn, max_staleness=timedelta(seconds=NEVER)) as room:
        token = await room.login()
        before = await room.check(token)
        room.checker.forget(token.session_id)
        room.checker.forget(token.session_id)
        after = await room.check(token)
        assert before == after
        assert before is not after
        assert room.checks == 2


# A lost connection


async def change_quietly(pg: asyncpg.Connection, token: Token) -> None:
    """Change what a row holds and not its revision, as a database does that went back in time."""
    await pg.execute("set session_replication_role = replica")  # no triggers
    await pg.execute("update aiosess_sessions set data = '{\"restored\": true}' where id = $1", token.session_id)
    await pg.execute("reset session_replication_role")


def is_restored(row: Row | None) -> bool:
    """Say whether a row is what change_quietly() made of it."""
    assert row is not None
    return row.data == '{"restored": true}'


async def connect_twice(room: Room) -> None:
    """Have two connections in the pool, so that one can be lost while the other is used."""
    await asyncio.gather(room.database.fetch("select pg_sleep(0)"), room.database.fetch("select pg_sleep(0)"))
    assert room.pool.get_size() > 1


async def test_lost_connection_makes_the_dead_unknown(room: Room, pg: asyncpg.Connection) -> None:
    """A session that had ended is alive again when the database was restored to an earlier time."""
    token = await room.login()
    await pg.execute("create temporary table saved as select * from aiosess_sessions")
    await end_elsewhere(pg, token)
    assert await room.check(token) is None
    await lose_connections(pg, room)
    await pg.execute("insert into aiosess_sessions select * from saved; drop table saved")
    assert user_of(await room.check(token)) == "ada"


async def test_lost_connection_makes_held_rows_unknown(room: Room, pg: asyncpg.Connection) -> None:
    """Another content under the revision that was held is seen once the connection was lost."""
    token = await room.login()
    await room.check(token)
    await change_quietly(pg, token)
    assert not is_restored(await room.check(token)), "the row is not held: the test shows nothing"
    await lose_connections(pg, room)
    assert is_restored(await room.check(token))


async def test_batch_that_waits_while_a_connection_is_lost_reads_whole_rows(
    room: Room, gated: Room, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was held when a request joined its batch is not relied on when a connection was lost before it went."""
    monkeypatch.setattr(checker, "SLOW_AFTER", NEVER)
    slow, token = await room.login("slow"), await room.login("quick")
    await gated.check(token)
    await connect_twice(gated)
    await gate.close()
    early = gated.ask(slow)
    await gate.stopped()
    late = gated.ask(token)
    await turn()
    assert gated.joined == 1
    await change_quietly(gate.pg, token)
    await lose_connections(gate.pg, gated)
    await gate.open()
    await early
    assert is_restored(await late)


async def test_batch_in_flight_that_loses_its_connection_reads_whole_rows(
    room: Room, gated: Room, gate: Gate, pg: asyncpg.Connection
) -> None:
    """A batch that is asked again on another connection, one that is at hand too, asks for whole rows."""
    token = await room.login("slow")
    await gated.check(token)
    await connect_twice(gated)
    await gate.close()
    asked = gated.ask(token)
    await gate.stopped()
    await change_quietly(pg, token)
    await gate.end_stopped()
    await gate.stopped()
    await gate.open()
    assert is_restored(await asked)


async def test_answer_from_before_a_loss_is_not_remembered(
    room: Room, gated: Room, gate: Gate, pg: asyncpg.Connection
) -> None:
    """What a server said before a connection was lost is answered, and not taken for what the next one knows."""
    slow, token = await room.login("slow"), await room.login("quick")
    await connect_twice(gated)
    await pg.execute("create temporary table saved as select * from aiosess_sessions where user_id = 'quick'")
    await end_elsewhere(pg, token)
    await gate.close()
    asked = gated.ask_all(slow, token)
    await gate.stopped()
    await lose_connections(pg, gated)
    await gate.open()
    assert [user_of(row) for row in await asked] == ["slow", None]
    assert len(gated.checker._held._known) == 0
    await pg.execute("insert into aiosess_sessions select * from saved; drop table saved")
    assert user_of(await gated.check(token)) == "quick"


# Staleness


async def test_by_default_every_request_is_checked(room: Room) -> None:
    """Nothing is taken for true because it was a moment ago."""
    token = await room.login()
    for _ in range(10):
        await room.check(token)
    assert room.checks == 10


async def test_staleness_saves_queries_for_its_span_only(dsn: str, pg: asyncpg.Connection) -> None:
    """Within max_staleness a check costs nothing; after it, it asks again and sees what another process did."""
    async with make_room(dsn, max_staleness=timedelta(seconds=NEVER)) as room:
        token = await room.login()
        for _ in range(10):
            assert user_of(await room.check(token)) == "ada"
        assert room.checks == 1
    async with make_room(dsn, max_staleness=timedelta(milliseconds=50)) as room:
        await room.check(token)
        await until(lambda: room.checker._held.get(token.session_id.int).asked_at < monotonic() - 0.05)
        await room.check(token)
        assert room.checks == 2
        await end_elsewhere(pg, token)
        await eventually(lambda: _is_out(room, token))


async def _is_out(room: Room, token: Token) -> bool:
    return await room.check(token) is None


@pytest.mark.threat("SES-03")
@pytest.mark.parametrize("way", ["logout_other", "logout_all", "revoke", "store", "store, by user", "evicted"])
async def test_process_that_ends_a_session_knows_at_once(dsn: str, way: str) -> None:
    """However long an answer may be relied on, the process that ended a session does not accept it any more."""
    async with visit(make_app(dsn, max_staleness=timedelta(hours=1), max_sessions_per_user=2)) as site:
        ended, other = await (await site.browser()).login("ada"), await (await site.browser()).login("ada")
        assert await ended.user() == await ended.user() == "ada"
        session_id = (await (await ended.get("/me")).json())["id"]
        if way == "revoke":
            assert (await other.post(f"/revoke/{session_id}")).status == 200
        elif way == "store":
            await site.store.revoke(session_id)
        elif way == "store, by user":
            assert await site.store.revoke_user("ada") == 2
        elif way == "evicted":
            await (await site.browser()).login("ada")
        else:
            assert (await other.post(f"/do/{way}")).status == 200
        assert await ended.user() is None


@pytest.mark.threat("SES-02")
async def test_held_row_does_not_refuse_a_newer_secret(dsn: str) -> None:
    """However long an answer may be relied on, another process accepts a token that was rotated here at once."""
    stale = {"max_staleness": timedelta(hours=1)}
    async with visit(make_app(dsn, **stale)) as one, visit(make_app(dsn, **stale)) as other:
        browser = await (await one.browser()).login("ada")
        assert await (await other.browser(browser.token)).user() == "ada"
        assert (await browser.post("/do/reauthenticated")).status == 200
        assert await (await other.browser(browser.token)).user() == "ada"


# Pools


async def test_one_connection_serves_checks_and_writes(dsn: str) -> None:
    """A pool of a single connection lets checks and writes go on together, none of them waiting for the other."""
    async with make_room(dsn, max_size=1) as room:
        tokens = await room.logins(10)

        async def work(token: Token) -> None:
            for number in range(10):
                assert user_of(await room.check(token)) is not None
                row = await room.rows.patch(token.session_id, "key", str(number))
                assert row is not None
                room.signals.changed.send(row)

        assert await answered(*(asyncio.create_task(work(token)) for token in tokens)) == [None] * 10


async def test_idle_checker_keeps_no_connection(room: Room) -> None:
    """When nobody asks, every connection is back in the pool."""
    token = await room.login()
    await room.ask_all(*[token] * 10)
    await until(lambda: room.pool.get_idle_size() == room.pool.get_size() and not room.checker._in_flight)


async def test_writes_get_their_turn_under_permanent_load(dsn: str) -> None:
    """With one connection and checks that never pause, writes are done before their deadline all the same."""
    async with make_room(dsn, max_size=1, store_timeout=timedelta(seconds=3)) as room:
        token = await room.login()
        done = False

        async def ask() -> None:
            while not done:
                assert user_of(await room.check(token)) == "ada"

        askers = [asyncio.create_task(ask()) for _ in range(10)]
        await until(lambda: room.checks > 10)
        for number in range(5):
            assert await room.rows.patch(token.session_id, "key", str(number)) is not None
        done = True
        assert await answered(*askers) == [None] * 10
        assert room.checks > room.acquired[0], "no batch ever followed another: the test shows nothing"


# Shutdown


@pytest.mark.threat("DB-15")
@pytest.mark.parametrize("whose", ["its own pool", "the application's pool"])
async def test_shutdown_with_a_batch_in_flight_ends_clean(
    dsn: str, complaints: list[dict[str, Any]], whose: str
) -> None:
    """An application that ends while PostgreSQL hangs leaves no task and no complaint, and does not hang itself."""
    before = asyncio.all_tasks()
    deadline = timedelta(seconds=0.5)
    async with make_room(dsn) as direct, relayed(dsn) as relay, make_room(relay.dsn) as room:
        token = Keyring(SECRET).sign(await direct.login(), "aiosess")
        options = {"pool": room.pool} if whose == "the application's pool" else {}
        async with asyncio.timeout(20):
            async with visit(make_app(relay.dsn, store_timeout=deadline, **options), shutdown_timeout=0.05) as site:
                inner = site.installation.checker
                assert (await site.present(token)).user == "ada"
                relay.swallows = True
                asked = asyncio.create_task(site.present(token))
                await until(lambda: len(inner._in_flight) == 1)
            await answered(asked)
        await until(lambda: not inner._in_flight)
        await room.pool.expire_connections()
        relay.cut()
    await until(lambda: asyncio.all_tasks() <= before)
    del asked
    gc.collect()
    assert complaints == []


# The statement


async def test_check_uses_the_primary_key(empty_dsn: str) -> None:
    """With 50,000 rows the check is one look-up by primary key for each pair, whatever the planner knows of them."""
    async with make_room(empty_dsn) as room:
        await prepare(room.database, "public", migrate=True)
        await room.login()
        pg = await asyncpg.connect(empty_dsn)
        await pg.execute(
            """
            create temporary table copies as select one.* from aiosess_sessions one, generate_series(1, 50000);
            update copies set id = gen_random_uuid();
            insert into aiosess_sessions select * from copies
            """
        )
        ids = [str(record["id"]) for record in await pg.fetch("select id from aiosess_sessions limit 1000")]
        check = statement("check", "public")
        for preparation in ("select", "analyze aiosess_sessions"):
            await pg.execute(preparation)
            for mode, count in product(("force_generic_plan", "force_custom_plan"), (1, 1000)):
                await pg.execute(f"set plan_cache_mode = {mode}; prepare asked (uuid[], bigint[]) as {check}")
                pairs = f"'{{{','.join(ids[:count])}}}', '{{{','.join('0' * count)}}}'"
                plan = "\n".join(record[0] for record in await pg.fetch(f"explain execute asked ({pairs})"))
                assert "Index Scan using aiosess_sessions_pkey" in plan, (preparation, mode, count, plan)
                assert "Seq Scan" not in plan, (preparation, mode, count, plan)
                await pg.execute("deallocate asked")
        await pg.close()
