"""The hook for events: called in order, and unable to disturb whoever emits."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

import pytest

from aiosess import _signals as dispatcher
from aiosess._signals import Dispatcher
from aiosess.events import Event, Evicted, Origin

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = Evicted(
    at=NOW,
    session_id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    user_id="user-private",
    origin=Origin(ip=None, user_agent="", device_name="", device_type="unknown"),
    created_at=NOW,
    last_active_at=NOW,
)


def numbered(count: int) -> list[Event]:
    """Return events that can be told apart."""
    return [Event(at=datetime.fromtimestamp(n, UTC)) for n in range(count)]


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give hooks a hundredth of a second instead of thirty."""
    monkeypatch.setattr(dispatcher, "HOOK_TIMEOUT", 0.01)


async def test_nothing_happens_without_a_hook() -> None:
    """Without a hook events go nowhere, and there is nothing to wait for."""
    before = asyncio.all_tasks()
    without = Dispatcher(None)
    without.emit(EVENT)
    await without.drain()
    assert asyncio.all_tasks() <= before


async def test_plain_function_gets_events_in_order() -> None:
    """A plain function is called once with each event, in their order, after emit() returned."""
    seen: list[Event] = []
    plain, sent = Dispatcher(seen.append), numbered(50)
    for event in sent:
        plain.emit(event)
    assert seen == []
    await plain.drain()
    assert seen == sent


async def test_coroutine_function_gets_events_in_order() -> None:
    """A coroutine function is started with each event in their order, and one that waits holds up no other."""
    started: list[Event] = []
    ended: list[Event] = []
    first_may_end = asyncio.Event()

    async def hook(event: Event) -> None:
        started.append(event)
        if event is sent[0]:
            await first_may_end.wait()
        ended.append(event)
        if len(ended) == len(sent) - 1:
            first_may_end.set()

    slow, sent = Dispatcher(hook), numbered(5)
    for event in sent:
        slow.emit(event)
    await slow.drain()
    assert started == sent
    assert ended == [*sent[1:], sent[0]]


@pytest.mark.parametrize("kind", ["future", "object with a coroutine", "bound method"])
async def test_any_awaitable_is_awaited(kind: str) -> None:
    """What the hook returns is awaited when it can be, whatever it is."""
    done = asyncio.get_running_loop().create_future()

    class Audit:
        async def __call__(self, event: Event) -> None:
            done.set_result(event)

    def to_future(event: Event) -> Awaitable[None]:
        return asyncio.ensure_future(Audit()(event))

    hooks: dict[str, Callable[[Event], Awaitable[None]]] = {
        "future": to_future,
        "object with a coroutine": Audit(),
        "bound method": Audit().__call__,
    }
    each = Dispatcher(hooks[kind])
    each.emit(EVENT)
    await each.drain()
    assert done.result() is EVENT


def fails(_event: Event) -> NoReturn:
    """Raise at once."""
    message = "hook is broken"
    raise ValueError(message)


async def fails_later(event: Event) -> None:
    """Raise after a turn of the loop."""
    await asyncio.sleep(0)
    fails(event)


@pytest.mark.threat("LOG-01")
@pytest.mark.parametrize("hook", [fails, fails_later])
async def test_hook_that_raises_disturbs_nothing(hook: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged with its traceback and the event's kind, without the event's ids; the next event comes."""
    broken = Dispatcher(hook)
    for _ in range(2):
        broken.emit(EVENT)
    await broken.drain()
    assert [record.getMessage() for record in caplog.records] == ["on_event failed for a Evicted event"] * 2
    assert "ValueError: hook is broken" in caplog.text
    assert not re.search("private|01890a5d", caplog.text)


@pytest.mark.usefixtures("brief")
async def test_hook_that_hangs_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that does not return is cancelled when its time is up, and said to have failed."""
    ended: list[str] = []

    async def hook(_event: Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    before = asyncio.all_tasks()
    hanging = Dispatcher(hook)
    hanging.emit(EVENT)
    async with asyncio.timeout(5):
        await hanging.drain()
    assert ended == ["cancelled"]
    assert "TimeoutError" in caplog.text
    assert asyncio.all_tasks() <= before


async def test_hook_that_cancels_itself_disturbs_nothing() -> None:
    """A hook that ends in a CancelledError ends only its own task."""
    seen: list[Event] = []

    async def hook(event: Event) -> None:
        seen.append(event)
        raise asyncio.CancelledError

    odd = Dispatcher(hook)
    for event in numbered(3):
        odd.emit(event)
    await odd.drain()
    assert seen == numbered(3)


@pytest.mark.threat("DOS-01")
async def test_hanging_calls_are_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """When as many calls as the bound have not returned, events are lost and logged as such; later ones come again."""
    monkeypatch.setattr(dispatcher, "MAX_WAITING", 3)
    seen: list[Event] = []
    go_on = asyncio.Event()

    async def hook(event: Event) -> None:
        seen.append(event)
        await go_on.wait()

    busy, sent = Dispatcher(hook), numbered(5)
    for event in sent:
        busy.emit(event)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "on_event: 3 calls have not returned; a Event event is lost")
    ] * 2
    go_on.set()
    await busy.drain()
    busy.emit(EVENT)
    await busy.drain()
    assert seen == [*sent[:3], EVENT]


def test_bounds_are_sane() -> None:
    """A hook has 30 seconds, and a thousand may be under way."""
    assert (dispatcher.HOOK_TIMEOUT, dispatcher.MAX_WAITING) == (30.0, 1000)


async def test_finished_calls_are_forgotten() -> None:
    """More events than the bound come through, one after the other: what has returned no longer counts."""
    seen: list[Event] = []
    plain = Dispatcher(seen.append)
    for event in numbered(dispatcher.MAX_WAITING + 1):
        plain.emit(event)
        if len(seen) % 100 == 0:
            await plain.drain()
    await plain.drain()
    assert len(seen) == dispatcher.MAX_WAITING + 1


async def test_drain_waits_for_what_runs() -> None:
    """drain() returns when every call has returned, and at once when there is none."""
    steps: list[str] = []

    async def hook(_event: Event) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        steps.append("hook")

    slow = Dispatcher(hook)
    await slow.drain()
    slow.emit(EVENT)
    await slow.drain()
    steps.append("drained")
    await slow.drain()
    assert steps == ["hook", "drained"]


async def test_drain_does_not_wait_for_a_hook_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """At shutdown a hook that hangs is cancelled after a little while."""
    monkeypatch.setattr(dispatcher, "DRAIN_TIMEOUT", 0.01)
    cancelled = asyncio.Event()

    async def hang(_event: Event) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    hanging = Dispatcher(hang)
    hanging.emit(Event(at=datetime.now(UTC)))
    async with asyncio.timeout(5):
        await hanging.drain()
        await cancelled.wait()
