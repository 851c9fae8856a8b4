"""Requests that are cancelled while the checker asks for them: no other request is harmed."""

import asyncio
import gc
from collections.abc import Awaitable
from contextlib import ExitStack
from contextvars import Context, ContextVar
from itertools import product
from typing import Any

import asyncpg
import pytest

from aiosess import StoreUnavailable
from aiosess._row import Row
from tests.check.room import LONG, Gate, Room, answered, make_room, turn, user_of
from tests.world.spoiling import spoil


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


@pytest.mark.threat("WSO-03")
async def test_cancelled_request_of_an_unreadable_row(
    room: Room, gated: Room, gate: Gate, pg: asyncpg.Connection, complaints: list[dict[str, Any]]
) -> None:
    """Of the requests in one batch one left; its unreadable row fails for the other of its session, and nobody else."""
    token, other = await room.login("slow"), await room.login("slow too")
    await spoil(pg, "retired = '[1]'", "user_id = 'slow'")
    await gate.close()
    asked = [gated.ask(each) for each in (token, token, other)]
    await gate.stopped()
    asked[0].cancel()
    await gate.open()
    left, failed, row = await answered(*asked)
    assert isinstance(left, asyncio.CancelledError)
    assert isinstance(failed, StoreUnavailable)
    assert user_of(row) == "slow too"
    del left, failed, asked
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
