"""The hook for events: called in order, and unable to disturb whoever emits."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

import pytest

from aiosess import _event_hook
from aiosess._event_hook import EventHook, Hook
from aiosess._log_limit import LogLimit
from aiosess._signals import Signals
from aiosess.events import CookieConflicted, Event, Evicted, Origin, ReuseDetected

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = Evicted(
    at=NOW,
    session_id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    user_id="user-private",
    origin=Origin(ip=None, user_agent="", device_name="", device_type="unknown"),
    created_at=NOW,
    last_active_at=NOW,
)


class Hooked:
    """A hook and the signals that it hears."""

    def __init__(self, hook: Hook | None) -> None:
        """Connect the hook."""
        self.signals = Signals()
        self.limit = LogLimit()
        self.hook = EventHook(hook, self.signals, self.limit)
        self.emit = self.signals.happened.send
        self.drain = self.hook.drain


def numbered(count: int) -> list[Event]:
    """Return events that can be told apart."""
    return [Event(at=datetime.fromtimestamp(n, UTC)) for n in range(count)]


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give hooks a hundredth of a second instead of thirty."""
    monkeypatch.setattr(_event_hook, "HOOK_TIMEOUT", 0.01)


async def test_nothing_happens_without_a_hook() -> None:
    """Without a hook events go nowhere, and there is nothing to wait for."""
    before = asyncio.all_tasks()
    without = Hooked(None)
    without.emit(EVENT)
    await without.drain()
    assert asyncio.all_tasks() <= before


async def test_plain_function_gets_events_in_order() -> None:
    """A plain function is called once with each event, in their order, after emit() returned."""
    seen: list[Event] = []
    plain, sent = Hooked(seen.append), numbered(50)
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

    slow, sent = Hooked(hook), numbered(5)
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
    each = Hooked(hooks[kind])
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
    broken = Hooked(hook)
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
    hanging = Hooked(hook)
    hanging.emit(EVENT)
    async with asyncio.timeout(60):
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

    odd = Hooked(hook)
    for event in numbered(3):
        odd.emit(event)
    await odd.drain()
    assert seen == numbered(3)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two calls run at once and three events wait, instead of thousands."""
    monkeypatch.setattr(_event_hook, "MAX_RUNNING", 2)
    monkeypatch.setattr(_event_hook, "MAX_WAITING", 3)


class Held:
    """A hook whose calls return when the test says so."""

    def __init__(self) -> None:
        """Hold all calls."""
        self.seen: list[Event] = []
        self.go_on = asyncio.Event()

    async def __call__(self, event: Event) -> None:
        """Note the event and wait."""
        self.seen.append(event)
        await self.go_on.wait()


@pytest.mark.usefixtures("small")
async def test_events_wait_for_a_hook_that_is_busy(caplog: pytest.LogCaptureFixture) -> None:
    """Events beyond the calls that may run at once wait for their turn, and all come in their order."""
    held = Held()
    busy, sent = Hooked(held), numbered(5)
    for event in sent:
        busy.emit(event)
    await asyncio.sleep(0)
    assert held.seen == sent[:2]
    held.go_on.set()
    await busy.drain()
    assert held.seen == sent
    assert not caplog.records


@pytest.mark.usefixtures("small")
async def test_caught_up_waits_for_the_events_before_it() -> None:
    """caught_up() returns when every call for an event before it has returned, though later events go on coming."""
    held = Held()
    busy, sent = Hooked(held), numbered(3)
    for event in sent:
        busy.emit(event)
    waiting = asyncio.ensure_future(busy.signals.caught_up())
    await asyncio.sleep(0)
    busy.emit(EVENT)
    assert not waiting.done()
    held.go_on.set()
    async with asyncio.timeout(5):
        await waiting
    assert held.seen[:3] == sent
    await busy.drain()
    assert held.seen == [*sent, EVENT]


@pytest.mark.usefixtures("small")
async def test_waiter_that_was_cancelled_holds_up_nothing() -> None:
    """When a task that waits in caught_up() is cancelled, the events behind it still come."""
    held = Held()
    busy, sent = Hooked(held), numbered(4)
    for event in sent[:3]:
        busy.emit(event)
    waiting = asyncio.ensure_future(busy.signals.caught_up())
    await asyncio.sleep(0)
    waiting.cancel()
    busy.emit(sent[3])
    held.go_on.set()
    await busy.drain()
    assert held.seen == sent


@pytest.mark.threat("DOS-01")
@pytest.mark.usefixtures("small")
async def test_waiting_events_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """When as many events as the bound wait, further ones are lost; the log says so at once, and later how many."""
    held = Held()
    busy, sent = Hooked(held), numbered(1000)
    for event in sent:
        busy.emit(event)
    busy.limit.start_minute()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "on_event: too many events wait for the hook; a Event event is lost"),
        (logging.WARNING, "not told one by one since a minute ago: Event events lost (994 times)"),
    ]
    held.go_on.set()
    await busy.drain()
    busy.emit(EVENT)
    await busy.drain()
    assert held.seen == [*sent[:5], EVENT]


CONFLICT = CookieConflicted(at=NOW, presenter=EVENT.origin)
THEFT = ReuseDetected(
    **{name: getattr(EVENT, name) for name in EVENT.__dataclass_fields__}, presenter=EVENT.origin, other=EVENT.origin
)


@pytest.mark.threat("EVT-01")
@pytest.mark.threat("LOG-02")
async def test_flood_of_conflicts_loses_no_other_event(caplog: pytest.LogCaptureFixture) -> None:
    """Though a hook hangs on 5,000 conflicts, which anybody can cause, it is called for a theft at once."""
    held = Held()
    busy = Hooked(held)
    for _ in range(5000):
        busy.emit(CONFLICT)
    busy.emit(THEFT)
    await asyncio.sleep(0)
    assert held.seen == [CONFLICT] * 100 + [THEFT]
    busy.limit.start_minute()
    assert [record.getMessage() for record in caplog.records] == [
        "on_event: too many events wait for the hook; a CookieConflicted event is lost",
        "not told one by one since a minute ago: CookieConflicted events lost (4,899 times)",
    ]
    held.go_on.set()
    await busy.drain()
    for _ in range(100):
        busy.emit(CONFLICT)
    await busy.drain()
    assert held.seen[101:] == [CONFLICT] * 100


@pytest.mark.usefixtures("small")
@pytest.mark.threat("EVT-01")
async def test_conflicts_that_wait_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conflicts that wait for the hook take room from one another only, as those that it was called with."""
    monkeypatch.setattr(_event_hook, "MAX_ANONYMOUS", 2)
    held = Held()
    busy = Hooked(held)
    for event in (EVENT, EVENT, *[CONFLICT] * 50, THEFT):
        busy.emit(event)
    held.go_on.set()
    await busy.drain()
    assert held.seen == [EVENT, EVENT, CONFLICT, CONFLICT, THEFT]


async def test_failing_hook_is_told_a_few_times(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that always fails fills no log: ten tracebacks in a minute, then the number of those left out."""
    broken = Hooked(fails)
    for _ in range(25):
        broken.emit(EVENT)
    await broken.drain()
    broken.limit.start_minute()
    assert [bool(record.exc_info) for record in caplog.records] == [True] * 10 + [False]
    assert "on_event failed for Evicted events (15 times)" in caplog.text


def test_bounds_are_sane() -> None:
    """A hook has 30 seconds; of a thousand calls and 100,000 events that wait, anybody can cause a hundred."""
    bounds = (_event_hook.HOOK_TIMEOUT, _event_hook.MAX_RUNNING, _event_hook.MAX_WAITING, _event_hook.MAX_ANONYMOUS)
    assert bounds == (30.0, 1000, 100_000, 100)


async def test_finished_calls_are_forgotten() -> None:
    """More events than the bound come through, one after the other: what has returned no longer counts."""
    seen: list[Event] = []
    plain = Hooked(seen.append)
    for event in numbered(_event_hook.MAX_RUNNING + 1):
        plain.emit(event)
        if len(seen) % 100 == 0:
            await plain.drain()
    await plain.drain()
    assert len(seen) == _event_hook.MAX_RUNNING + 1


async def test_drain_waits_for_what_runs() -> None:
    """drain() returns when every call has returned, and at once when there is none."""
    steps: list[str] = []

    async def hook(_event: Event) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        steps.append("hook")

    slow = Hooked(hook)
    await slow.drain()
    slow.emit(EVENT)
    await slow.drain()
    steps.append("drained")
    await slow.drain()
    assert steps == ["hook", "drained"]


async def test_drain_does_not_wait_for_a_hook_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """At shutdown a hook that hangs is cancelled after a little while."""
    monkeypatch.setattr(_event_hook, "DRAIN_TIMEOUT", 0.01)
    cancelled = asyncio.Event()

    async def hang(_event: Event) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    hanging = Hooked(hang)
    hanging.emit(Event(at=datetime.now(UTC)))
    async with asyncio.timeout(60):
        await hanging.drain()
        await cancelled.wait()


@pytest.mark.usefixtures("small")
async def test_drain_says_how_many_events_are_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At shutdown the log says how many calls were cancelled, and how many events had no call yet."""
    monkeypatch.setattr(_event_hook, "DRAIN_TIMEOUT", 0.01)
    hanging = Hooked(Held())
    for event in numbered(4):
        hanging.emit(event)
    async with asyncio.timeout(5):
        await hanging.drain()
    assert "2 calls are cancelled, 2 more events are lost" in caplog.text
