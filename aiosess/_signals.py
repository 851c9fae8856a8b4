"""How parts hear of changed rows, ended sessions, lost connections and events without knowing one another."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVarTuple
from uuid import UUID

from aiosess._row import Row
from aiosess.events import Event, SessionEvent

Ts = TypeVarTuple("Ts")


class Signal(Generic[*Ts]):
    """Calls its listeners before ``send()`` returns, in the order in which they connected."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        """Start without a listener."""
        self._listeners: list[Callable[[*Ts], object]] = []

    def connect(self, listener: Callable[[*Ts], object]) -> None:
        """Call the listener from now on; it must return at once and must not raise."""
        self._listeners.append(listener)

    def send(self, *values: *Ts) -> None:
        """Call every listener."""
        for listener in self._listeners:
            listener(*values)


class Signals:
    """
    The signals of one installation.

    Attributes:
        changed: A write returned this live row.
        ended: The session with this id has ended, by a write of this process or as a check found.
        all_ended: Every session of every user was ended.
        connection_lost: A connection ended: the server that answers next may be another one, or the same one restored
            to an earlier time.
        happened: An event, for the application's hook.

    """

    def __init__(self) -> None:
        """Start without listeners."""
        self.changed = Signal[Row]()
        self.ended = Signal[UUID]()
        self.all_ended = Signal[()]()
        self.connection_lost = Signal[()]()
        self.happened = Signal[Event]()
        self._slow: list[Callable[[], Awaitable[None]]] = []

    def tell_end(self, event: SessionEvent) -> None:
        """Announce that a write has ended a session, and the event that says why."""
        self.ended.send(event.session_id)
        self.happened.send(event)

    def wait_for(self, listener: Callable[[], Awaitable[None]]) -> None:
        """Let ``caught_up()`` wait for a listener that works off events after ``send()`` has returned."""
        self._slow.append(listener)

    async def caught_up(self) -> None:
        """Wait until the slow listeners have worked off the events so far; writers of many events go no faster."""
        for listener in self._slow:
            await listener()
