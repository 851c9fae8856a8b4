"""
An owner who goes on, and a thief with one copy who goes on as well: how long that can last.

The owner is honest: one jar, no faults, responses at once. The thief is as clever as can be: it asks when it likes,
keeps and throws away what it likes, and is another client whenever it likes. Both ask at least every so often.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aiosess._token.rotation import Meaning
from tests.rotation.explore import (
    DEAD,
    ENDLESS,
    FIRST,
    LOGIN,
    NONE,
    Copy,
    Known,
    Outcome,
    Server,
    by_age,
    newest,
)

# One digest may be the holder's and one is not; a third would be told from the second by nothing that matters.
STRANGERS: Final = ("X", "Y")


@dataclass(frozen=True)
class Parties:
    """
    How the two behave.

    Attributes:
        owner: The owner presents its cookie at least every so many units.
        thief: The thief presents one that it has at least every so many units.
        keeps: So many tokens the thief remembers.
        clients: What the thief's requests may come from; O is the client of the login.
        home: What the owner's requests come from.
        stores: The session cookie ends with the browser; any that there was may come back, as often as it likes. The
            thief has copied both cookies, or the session cookie alone, perhaps one that had been replaced already.

    """

    owner: int = 1
    thief: int = 1
    keeps: int = 2
    clients: tuple[str, ...] = STRANGERS
    home: str = "O"
    stores: bool = False


class Theft(NamedTuple):
    """
    The row, the owner's jar and pause, the thief's tokens and pause (-1: nothing was stolen yet).

    If the cookie ends with the browser, the jar is its version cookie, and the rest is what its store may bring back.
    """

    known: Known
    jar: Copy
    paused: int
    loot: tuple[Copy, ...] = ()
    waits: int = -1
    session: Copy = FIRST
    stored: tuple[Copy, ...] = ()

    @property
    def sent(self) -> Copy:
        """The token that the owner's next request means."""
        return newest(self.session, self.jar) if self.stored else self.jar


class Step(NamedTuple):
    """What may happen, how long it takes, and what is then; None: the theft is found."""

    what: str
    takes: int
    after: Theft | None


@dataclass
class Chase:
    """A search for the longest schedule from a theft to its alarm."""

    server: Server
    parties: Parties
    ways: dict[Theft, list[Step]] = field(default_factory=dict)
    lasts: dict[Theft, int] = field(default_factory=dict)

    def run(self) -> int:
        """
        Return how many units the longest schedule takes; ENDLESS: there is one without an end.

        What can last for one unit more is what leads, in no time, to a unit
        that passes and to what can last. When that leaves nothing out, what is
        left lasts for ever.
        """
        thefts = self.thefts()
        back: tuple[dict[Theft, list[Theft]], ...] = {}, {}
        self.ways = self._reach(thefts)
        for state, steps in self.ways.items():
            for _, takes, after in steps:
                if after is not None:
                    back[takes].setdefault(after, []).append(state)
        alive, units = set(self.ways), 0
        while alive:
            self.lasts.update(dict.fromkeys(alive, units))
            earlier = {each for state in alive for each in back[1].get(state, ())}
            queue = deque(earlier)
            while queue:
                new = set(back[0].get(queue.popleft(), ())) - earlier
                earlier |= new
                queue.extend(new)
            if earlier == alive:
                self.lasts.update(dict.fromkeys(alive, ENDLESS))
                break
            alive, units = earlier, units + 1
        return max(self.lasts[each] for each in thefts)

    def schedule(self) -> tuple[list[str], list[str]]:
        """Return a longest schedule, and the circle that it ends in, if it is endless."""
        state: Theft = max(self.thefts(), key=self.lasts.__getitem__)
        steps, seen = [str(state)], dict[Theft, int]()
        while state not in seen and self.lasts[state]:
            seen[state] = len(steps)
            way, state = self._pass(state)
            steps += way
        if state in seen:
            return steps[: seen[state]], steps[seen[state] :]
        return steps, []

    def thefts(self) -> list[Theft]:
        """Return all states in which the cookie may be copied: those that an owner alone gets to."""
        stores = self.parties.stores
        alone = self._reach([Theft(LOGIN, NONE if stores else FIRST, 0, stored=(FIRST,) * stores)])
        stolen = [(each, copy) for each in alone for copy in {each.sent, *each.stored}]
        return sorted({self._named(each._replace(loot=(copy,), waits=0), 0) for each, copy in stolen})

    def _reach(self, begins: Iterable[Theft]) -> dict[Theft, list[Step]]:
        """Return all states that may follow, and what may happen in each."""
        ways: dict[Theft, list[Step]] = {}
        seen = set(begins)
        queue = deque(begins)
        while queue:
            state = queue.popleft()
            ways[state] = [step for step in self.steps(state) if step.after != state]
            for _, _, after in ways[state]:
                if after is not None and after not in seen:
                    seen.add(after)
                    queue.append(after)
        return ways

    def _pass(self, state: Theft) -> tuple[list[str], Theft]:
        """Return what happens until the next unit has passed, when as much as possible is still to come."""
        ways: dict[Theft, list[str]] = {state: []}
        queue = deque([state])
        while True:
            each = queue.popleft()
            for what, takes, after in self.ways[each]:
                if after is None or after in ways:
                    continue
                if takes and self.lasts[after] >= self.lasts[state] - 1:
                    return [*ways[each], what], after
                if not takes:
                    ways[after] = [*ways[each], what]
                    queue.append(after)

    # What may happen

    def steps(self, state: Theft) -> Iterator[Step]:
        """Yield what may happen next."""
        yield self._owner(state)
        for session in state.stored:
            yield Step("owner: session cookie comes back", 0, state._replace(session=session))
        for copy in self._meant(state.loot) if state.waits >= 0 else ():
            for client in self.parties.clients:
                yield from self._thief(state, copy, client)
        if state.paused < self.parties.owner and state.waits < self.parties.thief:
            waits = state.waits + (state.waits >= 0)
            later = state._replace(known=self.server.later(state.known), paused=state.paused + 1, waits=waits)
            yield Step("+1", 1, self._named(later, 0))

    def _meant(self, loot: tuple[Copy, ...]) -> set[Copy]:
        """Return the tokens that the thief can present: also a session cookie with the version cookie of another."""
        return {newest(session, version) for session in loot for version in (NONE, *loot)}

    def _owner(self, state: Theft) -> Step:
        meaning, _, outcomes = self.server.present(state.known, state.sent, self.parties.home)
        if meaning is Meaning.REUSE:
            return Step("owner: reuse", 0, None)
        known, grown, successor = outcomes[0]
        after = state._replace(known=known, paused=0, jar=successor or state.jar)
        if successor and state.stored:
            after = after._replace(session=successor, stored=(*state.stored, successor))
        what = f"owner: {meaning.value}" + (", gets a successor" if successor else "")
        return Step(what, 0, self._named(after, grown))

    def _thief(self, state: Theft, copy: Copy, client: str) -> Iterator[Step]:
        meaning, _, outcomes = self.server.present(state.known, copy, client)
        what = f"thief {client}: {meaning.value}"
        if meaning is Meaning.REUSE:
            yield Step(what, 0, None)
            return
        for outcome in outcomes:
            for loot, does in self._loots(state.loot, outcome):
                after = state._replace(known=outcome.known, loot=loot, waits=0)
                yield Step(what + does, 0, self._named(after, outcome.grown))

    def _loots(self, loot: tuple[Copy, ...], outcome: Outcome) -> Iterator[tuple[tuple[Copy, ...], str]]:
        """Yield what the thief may remember: without a successor, or with it, in the place of another if need be."""
        yield loot, ""
        if outcome.successor is None:
            return
        if len(loot) < self.parties.keeps:
            yield (*loot, outcome.successor), ", keeps a successor"
            return
        for place in range(len(loot)):
            yield (*loot[:place], *loot[place + 1 :], outcome.successor), ", keeps a successor for another token"

    def _named(self, state: Theft, grown: int) -> Theft:
        """Return the state under canonical names; a thief forgets what would only raise the alarm."""
        ages = dict(state.known.retired)

        def kind(copy: Copy) -> tuple[bool, int, int, int]:
            return copy.id != state.known.current, copy.version, copy.parent, ages.get(copy.id, -1)

        loot = sorted(set(state.loot), key=kind)
        copies = [state.jar, *loot, *((state.session, *state.stored) if state.stored else ())]
        known, names = self.server.canonical(_renamed(state.known), grown, copies)
        kept = sorted({names[copy] for copy in loot} - {DEAD})
        if not state.stored:
            return state._replace(known=known, jar=names[state.jar], loot=tuple(kept))
        names = by_age(names, grown)
        stored = tuple(sorted({names[copy] for copy in state.stored}))
        return Theft(known, names[state.jar], state.paused, tuple(kept), state.waits, names[state.session], stored)


def _renamed(known: Known) -> Known:
    """Let the first of the thief's digests that the row knows be X."""
    names = (known.holder, known.promoter, known.lessee)
    if next((each for each in names if each in STRANGERS), "X") == "X":
        return known
    other = {"X": "Y", "Y": "X"}
    holder, promoter, lessee = (other.get(each, each) for each in names)
    return known._replace(holder=holder, promoter=promoter, lessee=lessee)
