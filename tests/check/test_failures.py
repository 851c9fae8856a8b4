"""Batches that fail, hang or end with the loop: who gets which answer, and when."""

import asyncio
import gc
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from aiosess import StoreUnavailable
from aiosess._check import checker
from aiosess._check.checker import MAX_IN_FLIGHT
from aiosess._token.keys import Keyring
from aiosess._token.token import Token
from tests.check.room import NEVER, Gate, Room, answered, make_room, turn, until, user_of
from tests.world.app import SECRET, make_app
from tests.world.relay import relayed
from tests.world.site import Site, visit
from tests.world.waiting import eventually
from tests.world.wire import COOKIE, request_bytes


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
async def test_saturated_store_is_503_without_pile_up(dsn: str, fault: str) -> None:
    """With 2 connections and a store that is gone, 500 requests are 503, later ones at once; then all is well again."""
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
