"""
Every schedule of the rotation protocol in a small world: what the searches share.

Time is whole units. A state keeps only what can matter: instants as ages or as what is left, both clamped, and tokens
by what they are to the row. So there are finitely many states, and a search that ends has seen every schedule, however
long. The verdicts are those of ``rotation.judge()``; what follows from them is what tests/statements.py says of sql/.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple

import pytest

from aiosess._row import Retired
from aiosess._token import rotation, version_cookie
from aiosess._token.rotation import MAX_RETIRED, Meaning
from aiosess._token.version_cookie import Place
from aiosess.config import SessionConfig
from tests.world import statements
from tests.world.statements import Stored
from tests.world.tokens import START, at, row, token

VERSION: Final = 100  # of the row's token; all others' are relative to it
# Ids: the row's token, its parent, a new successor, one that nobody holds, and one that only takes up room in the row.
CURRENT, PARENT, FRESH, GONE, ROOM = 0, 1, 99, -1, -2
NOBODY = ""
# Others wait longer and longer, here no longer than so many times twice as long: a thief who waits less can do more. An
# owner at home is not among the others until a thief's token has settled, and gets no successor from then on anyway.
OFTEN: Final = 3
ENDLESS = 10**6  # as many retired tokens as there may be


@dataclass(frozen=True)
class Spans:
    """The numbers of a small world, in units, and how many retired tokens the row keeps."""

    overlap: int
    late: int
    rotate: int
    kept: int = MAX_RETIRED

    @property
    def config(self) -> SessionConfig:
        """Return them as options, a unit being a second."""
        return SessionConfig(
            rotation_overlap=timedelta(seconds=self.overlap),
            late_window=timedelta(seconds=self.late),
            rotate_every=timedelta(seconds=self.rotate),
        )


class Copy(NamedTuple):
    """A token that somebody has; its version is relative to the row's."""

    id: int
    version: int
    parent: int


class Known(NamedTuple):
    """The row: how long ago things happened (settled -1: not yet), and how long its leases still last."""

    current: int
    parent: int
    promoted: int
    settled: int
    mint: int
    hold: int
    holder: str
    promoter: str
    lessee: str
    leased_for: int
    often: int
    retired: tuple[tuple[int, int], ...]


LOGIN: Final = Known(CURRENT, GONE, 0, 0, 0, 0, "O", NOBODY, NOBODY, GONE, 0, ())
FIRST: Final = Copy(CURRENT, 0, GONE)
DEAD: Final = Copy(GONE, -1, GONE)  # whatever is reuse from now on
# The same, where it matters which of two is older; no version cookie at all is as good as the oldest.
NONE: Final = Copy(GONE, -2, GONE)
OF_VERSION: Final = {0: Copy(GONE, 0, GONE), -1: DEAD, -2: NONE}


class Outcome(NamedTuple):
    """What a presentation may lead to: a row, whose version may have grown, and perhaps a successor."""

    known: Known
    grown: int
    successor: Copy | None


def newest(session: Copy, version: Copy) -> Copy:
    """Return the token that a session cookie and a version cookie mean together."""
    place = Place(VERSION + version.version, str(version.id), str(version.parent))
    meant = version_cookie.at_place(token(str(session.id), VERSION + session.version, str(session.parent)), place)
    return version if meant.id == place.id and meant.version == place.version else session


def by_age(names: dict[Copy, Copy], grown: int) -> dict[Copy, Copy]:
    """Tell the dead ones among canonical names by which is older."""
    return {
        copy: OF_VERSION[max(copy.version - grown, NONE.version)] if name == DEAD else name
        for copy, name in names.items()
    }


@dataclass
class Server:
    """The verdicts and the writes, each worked out once."""

    spans: Spans
    answers: dict[tuple[Known, Copy, str], tuple[Meaning, bool, tuple[Outcome, ...]]] = field(default_factory=dict)

    def present(self, known: Known, copy: Copy, client: str) -> tuple[Meaning, bool, tuple[Outcome, ...]]:
        """Return what a token means, whether it settles, and what may follow: with a successor, or without."""
        key = known, copy, client
        answer = self.answers.get(key)
        if answer is None:
            answer = self.answers[key] = self._judge(known, copy, client)
        return answer

    def _judge(self, known: Known, copy: Copy, client: str) -> tuple[Meaning, bool, tuple[Outcome, ...]]:
        judged = _stored(known)
        presented = token(str(copy.id), VERSION + copy.version, str(copy.parent))
        verdict = rotation.judge(judged, presented, START, self.spans.config)
        outcomes = []
        if verdict.mints:
            outcomes.append(Outcome(known, 0, None))  # not every response may carry a cookie
        after, leased = statements.written(judged, presented, verdict, START, client)
        if leased:
            outcomes.insert(0, Outcome(_known(after), 0, Copy(FRESH, copy.version + 1, copy.id)))
        elif not verdict.mints:
            outcomes.append(Outcome(_known(after), after.version - VERSION, None))
        return verdict.meaning, verdict.settles, tuple(outcomes)

    def canonical(self, known: Known, grown: int, copies: Iterable[Copy]) -> tuple[Known, dict[Copy, Copy]]:
        """
        Return the row and the tokens under the names of what they are to it; `grown`: by how much its version grew.

        Of parents, and of what was leased, only the row's two tokens matter: the row's version never falls, and who
        has a child was current before the row's version was the child's.
        """
        ids = {known.current: CURRENT}
        if known.settled < 0:
            ids[known.parent] = PARENT
        ages, names, renamed, held = dict(known.retired), dict(ids), dict[Copy, Copy](), set[int]()
        for copy in dict.fromkeys(copies):
            version = copy.version - grown
            matters = self._matters(known, version, ages.get(copy.id))
            if matters:
                held.add(copy.id)
            if matters or version > 0 or copy.id in ids:
                name = names.setdefault(copy.id, PARENT + len(names))
                renamed[copy] = Copy(name, max(version, -1), ids.get(copy.parent, GONE))
            else:
                renamed[copy] = DEAD
        return known._replace(
            current=CURRENT,
            parent=PARENT if known.settled < 0 else GONE,
            leased_for=ids.get(known.leased_for, GONE),
            often=min(known.often, OFTEN) if known.leased_for in ids else 0,
            retired=self._retired(known, {each: names[each] for each in held}),
        ), renamed

    def _matters(self, known: Known, version: int, age: int | None) -> bool:
        """Whether it matters that, and when, a token retired: while it is late, and while it could be a sibling."""
        return (age is not None and age < self.spans.late) or (known.settled < 0 and version == 0)

    def _retired(self, known: Known, held: dict[int, int]) -> tuple[tuple[int, int], ...]:
        """
        Return the retired tokens; those that nobody holds are room taken from siblings, which come before it settles.

        They are forgotten with the next promotion: a successor is due later than anything is late.
        """
        taken = 0 if known.settled >= 0 or self.spans.kept == ENDLESS else len(known.retired)
        entries = sorted((held[each], age) for each, age in known.retired if each in held)
        return ((ROOM, self.spans.late),) * (taken - len(entries)) + tuple(entries)

    def later(self, known: Known) -> Known:
        """Return the row a unit later."""
        spans = self.spans
        return known._replace(
            promoted=min(known.promoted + 1, spans.rotate),
            settled=known.settled if known.settled < 0 else min(known.settled + 1, spans.overlap),
            mint=max(known.mint - 1, 0),
            hold=max(known.hold - 1, 0),
            retired=tuple((each, min(age + 1, spans.late)) for each, age in known.retired),
        )


def _stored(known: Known) -> Stored:
    return row(
        version=VERSION,
        token_id=str(known.current),
        parent_id=str(known.parent) if known.parent != GONE else None,
        promoted_at=at(-known.promoted),
        settled_at=None if known.settled < 0 else at(-known.settled),
        mint_until=at(known.mint),
        holder_until=at(known.hold),
        holder=known.holder,
        promoted_by=known.promoter or None,
        leased_to=known.lessee or None,
        leased_for=str(known.leased_for) if known.leased_for != GONE else None,
        leased_often=known.often,
        retired=tuple(Retired(str(each), at(-age).timestamp()) for each, age in known.retired),
    )


def _known(stored: Stored) -> Known:
    def since(instant: float) -> int:
        return int(START.timestamp() - instant)

    return Known(
        int(stored.token_id),
        GONE if stored.parent_id is None else int(stored.parent_id),
        since(stored.promoted_at.timestamp()),
        -1 if stored.settled_at is None else since(stored.settled_at.timestamp()),
        0 if stored.mint_until is None else max(0, -since(stored.mint_until.timestamp())),
        0 if stored.holder_until is None else max(0, -since(stored.holder_until.timestamp())),
        stored.holder or NOBODY,
        stored.promoted_by or NOBODY,
        stored.leased_to or NOBODY,
        GONE if stored.leased_for is None else int(stored.leased_for),
        stored.leased_often,
        tuple((int(each.token_id), since(each.at)) for each in stored.retired),
    )


@contextmanager
def world(spans: Spans) -> Iterator[Server]:
    """Let everything go by these numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statements, "CONFIG", spans.config)
        for module in (statements, rotation):
            patch.setattr(module, "MAX_RETIRED", spans.kept)
        yield Server(spans)
