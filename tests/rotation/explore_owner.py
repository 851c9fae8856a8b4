"""
An owner alone, and what may go wrong: look for a schedule that logs an honest browser out.

Requests under way are not counted: what the jar held not too long ago may still arrive, as often as it likes. That is
any number of them. A handler that takes its time before a successor is minted is a request that takes longer: the
statement that leases asks for the token that was judged, and what made it due stays.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from aiosess._token.rotation import Meaning
from tests.rotation.explore import FIRST, LOGIN, NONE, Copy, Known, Server, by_age, newest

ACCEPTED = frozenset(Meaning) - {Meaning.REUSE, Meaning.INVALID, Meaning.AHEAD}


@dataclass(frozen=True)
class Faults:
    """
    What may go wrong.

    Attributes:
        within: A response, and a request that left before it arrived, take less than this together; 0: no time.
        slow_responses: Responses take their part of it.
        loses: Any response may vanish.
        crashes: The jar falls back to what it held less than this ago.
        stores: The session cookie ends with the browser. A crash brings back one of any age, and the version cookie
            of less than ``crashes`` ago (0: the last one).
        onward: The store brings back no session cookie older than one that it brought back before.
        marks: Settled marks may be lost, or written at any time later.
        clients: What the requests may come from.

    """

    within: int = 0
    slow_responses: bool = False
    loses: bool = False
    crashes: int = 0
    stores: bool = False
    onward: bool = False
    marks: bool = False
    clients: tuple[str, ...] = ("O",)


class Was(NamedTuple):
    """A token that the jar held: for how long a request with it may still arrive, or a crash bring it back."""

    copy: Copy
    request: int
    disk: int
    is_cut: bool  # it left before a crash: nobody waits for the response


class Owner(NamedTuple):
    """
    The row, the jar, what was in the jar, responses under way with their ages, and the age of an unwritten mark.

    If the cookie ends with the browser: the version cookie, and every session cookie that a store may bring back.
    """

    known: Known
    jar: Copy
    past: tuple[Was, ...] = ()
    flying: tuple[tuple[Copy, int], ...] = ()
    mark: int = -1
    version: Copy = NONE
    stored: tuple[Copy, ...] = ()

    @property
    def sent(self) -> Copy:
        """The token that the browser's next request means."""
        return newest(self.jar, self.version)


Step = tuple[str, Owner | None]


@dataclass(frozen=True)
class Search:
    """A breadth-first search over all schedules."""

    server: Server
    faults: Faults

    def run(self) -> tuple[int, list[str]]:
        """Return the number of states, and the shortest schedule that logs the owner out, if there is one."""
        first = Owner(LOGIN, FIRST, stored=(FIRST,) * self.faults.stores)
        before: dict[Owner, tuple[Owner, str] | None] = {first: None}
        queue = deque([first])
        while queue:
            state = queue.popleft()
            for what, after in self.steps(state):
                if after is None:
                    return len(before), [*_trace(before, state), what]
                if after not in before:
                    before[after] = state, what
                    queue.append(after)
        return len(before), []

    def steps(self, state: Owner) -> Iterator[Step]:
        """Yield what may happen next; None: the owner is out."""
        for client in self.faults.clients:
            yield from self._arrive(state, state.sent, client, "jar", is_cut=False)
            for place, was in enumerate(state.past):
                if was.request:
                    yield from self._arrive(state, was.copy, client, f"old{place}", is_cut=was.is_cut)
        for place, (copy, age) in enumerate(state.flying):
            flying = state.flying[:place] + state.flying[place + 1 :]
            yield f"response of {age} ago arrives", self._received(state._replace(flying=flying), copy, age)
        yield from self._crash(state)
        if state.mark >= 0:
            known = state.known._replace(settled=min(state.mark, self.server.spans.overlap))
            yield "the mark is written", self._named(state._replace(known=known, mark=-1), 0)
        if all(age + 1 < self.faults.within for _, age in state.flying):
            yield "+1", self._later(state)

    def _crash(self, state: Owner) -> Iterator[Step]:
        on_disk = [(f"old{place}", was.copy) for place, was in enumerate(state.past) if was.disk]
        if not self.faults.stores:
            for name, copy in on_disk:
                yield f"crash: jar is {name}", self._crashed(state, copy, NONE)
            return
        for name, version in [("the last", state.version), *on_disk]:
            for session in state.stored:
                what = f"crash: session cookie of {session.version:+}, version cookie is {name}"
                yield what, self._crashed(state, session, version)

    def _arrive(self, state: Owner, copy: Copy, client: str, name: str, *, is_cut: bool) -> Iterator[Step]:
        meaning, settles, outcomes = self.server.present(state.known, copy, client)
        what = f"{client} sends {name}: {meaning.value}"
        if meaning not in ACCEPTED:
            yield what, None
            return
        for known, grown, successor in outcomes:
            mark = state.mark if known.current == state.known.current else -1  # it is another token's
            after = state._replace(known=known, mark=-1 if settles else mark)
            if settles and self.faults.marks:
                yield f"{what}, mark waits", state._replace(mark=0)
            if successor is None:
                yield what + settles * ", settles", self._named(after, grown)
            else:
                yield from self._respond(after, successor, what, is_cut=is_cut)

    def _respond(self, state: Owner, successor: Copy, what: str, *, is_cut: bool) -> Iterator[Step]:
        """Send a response with a successor; after a crash nobody is there to receive it."""
        if self.faults.loses or is_cut:
            yield f"{what}, successor lost", self._named(state, 0)
        if is_cut:
            return
        yield f"{what}, successor arrives", self._received(state, successor, 0)
        if self.faults.slow_responses:
            flying = (*state.flying, (successor, 0))
            yield f"{what}, successor under way", self._named(state._replace(flying=flying), 0)

    def _received(self, state: Owner, copy: Copy, age: int) -> Owner:
        """Put a successor into the jar; what left before has so much less time."""
        left = max(self.faults.within - age, 0)
        past = [was if was.is_cut else was._replace(request=min(was.request, left)) for was in state.past]
        after = state._replace(jar=copy)
        if self.faults.stores:
            past.append(Was(state.version, 0, self.faults.crashes, is_cut=False))
            after = after._replace(version=copy, stored=(*state.stored, copy))
        past.append(Was(state.sent, left, 0 if self.faults.stores else self.faults.crashes, is_cut=False))
        return self._named(after._replace(past=tuple(past)), 0)

    def _crashed(self, state: Owner, session: Copy, version: Copy) -> Owner:
        """Go back to what was on disk; requests are still under way, and nobody waits for responses."""
        past = [was._replace(disk=0, is_cut=True) for was in state.past]
        past.append(Was(state.sent, self.faults.within, 0, is_cut=True))
        after = state._replace(jar=session, version=version, past=tuple(past), flying=())
        return self._named(after._replace(stored=(session,)) if self.faults.onward else after, 0)

    def _later(self, state: Owner) -> Owner:
        past = tuple(was._replace(request=max(was.request - 1, 0), disk=max(was.disk - 1, 0)) for was in state.past)
        flying = tuple((copy, age + 1) for copy, age in state.flying)
        mark = state.mark if state.mark < 0 else min(state.mark + 1, self.server.spans.overlap)
        known = self.server.later(state.known)
        return self._named(state._replace(known=known, past=past, flying=flying, mark=mark), 0)

    def _named(self, state: Owner, grown: int) -> Owner:
        """Return the state under canonical names; what can do nothing more is left out, and the same token once."""
        past = sorted((was for was in state.past if was.request or was.disk), key=lambda was: (was[1:], was.copy))
        flying = sorted(state.flying, key=lambda each: each[1])
        pair = [state.jar, state.version, *state.stored]
        copies = [*pair, *(was.copy for was in past), *(copy for copy, _ in flying)]
        known, names = self.server.canonical(state.known, grown, copies)
        names = by_age(names, grown)
        merged: dict[tuple[Copy, bool], Was] = {}
        for copy, request, disk, is_cut in past:
            same = merged.get((names[copy], is_cut), Was(copy, 0, 0, is_cut))
            longest = Was(names[copy], max(request, same.request), max(disk, same.disk), is_cut)
            merged[names[copy], is_cut] = longest
        return Owner(
            known,
            names[state.jar],
            tuple(sorted(merged.values())),
            tuple(sorted((names[copy], age) for copy, age in flying)),
            state.mark if known.settled < 0 else -1,
            names[state.version],
            tuple(sorted({names[copy] for copy in state.stored})),
        )


def _trace(before: dict[Owner, tuple[Owner, str] | None], state: Owner) -> list[str]:
    steps: list[str] = []
    at: Owner = state
    while (last := before[at]) is not None:
        at, what = last
        steps.append(what)
    return steps[::-1]
