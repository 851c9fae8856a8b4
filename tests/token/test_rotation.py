"""judge(): each line of the table, its boundaries to the second, and which line decides when two fit."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosess._row import Retired, Row
from aiosess._token import rotation
from aiosess._token.rotation import ADOPTED, MAX_RETIRED, Meaning, Verdict, is_lease_free, judge, touch_after
from aiosess._token.token import Token
from aiosess.config import SessionConfig
from tests.world.statements import adopted, lease, written
from tests.world.tokens import FIRST, OTHER_HASH, ROW, SECRET_HASH, START, at, retired, row, token

CONFIG = SessionConfig()
OVERLAP, LATE, ROTATE = 60, 600, 900  # seconds, the defaults
TICK = timedelta(microseconds=1)


def meaning(judged: Row, presented: Token, seconds: float = 0) -> Meaning:
    """Return what a token means some seconds after the start."""
    return judge(judged, presented, at(seconds), CONFIG).meaning


# invalid


@pytest.mark.threat("KEY-03")
@pytest.mark.parametrize(
    "presented",
    [
        token("current"),
        token("child", 6, "current"),
        token("late", 4, "x"),
        token("parent", 4, "x"),
        token("sibling"),
        token("ahead", 9, "x"),
        token("reuse", 1, "x"),
    ],
    ids=lambda presented: presented.id,
)
def test_wrong_secret_is_invalid_on_every_line(presented: Token) -> None:
    """Without the row's secret a token is invalid on every line: nothing is accepted, written or ended."""
    judged = row(retired=retired(late=0))
    assert judge(judged, presented, at(1), CONFIG).meaning is not Meaning.INVALID
    forged = replace(presented, secret_hash=OTHER_HASH)
    assert judge(judged, forged, at(1), CONFIG) == Verdict(Meaning.INVALID, settles=False, mints=False)


# outdated


@pytest.mark.threat("SES-15")
@pytest.mark.parametrize("version", [1, 4, 5])
def test_replaced_secret_is_outdated_after_the_late_window(version: int) -> None:
    """A token of a secret that rotate() replaced is invalid while it may be in flight, then outdated."""
    judged = row(secret_replaced_at=START, secret_hash=OTHER_HASH)
    assert judge(judged, token("old", version), at(LATE) - TICK, CONFIG) == Verdict(Meaning.INVALID)
    assert judge(judged, token("old", version), at(LATE), CONFIG) == Verdict(Meaning.OUTDATED)
    assert meaning(judged, token("old", version), 10**7) is Meaning.OUTDATED
    longer = CONFIG.with_options({"late_window": timedelta(seconds=LATE) + TICK})
    assert judge(judged, token("old", version), at(LATE), longer) == Verdict(Meaning.INVALID)


@pytest.mark.threat("SES-15")
def test_only_an_older_secret_is_outdated() -> None:
    """Nothing is told of a secret that is newer than the row, that was told of, or of a session without rotate()."""
    judged = row(secret_replaced_at=START, secret_hash=OTHER_HASH)
    assert meaning(judged, token("newer", 6), LATE) is Meaning.INVALID
    assert meaning(replace(judged, secret_replaced_at=None), token("old", 4), LATE) is Meaning.INVALID


@pytest.mark.threat("TOK-11")
def test_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """hmac.compare_digest() compares the two hashes and nothing else, and its answer decides."""
    compared: list[tuple[bytes, bytes]] = []

    def spy(answer: bool, left: bytes, right: bytes) -> bool:  # noqa: FBT001 - bound by position below
        compared.append((left, right))
        return answer

    for answer in (True, False):
        monkeypatch.setattr(rotation, "compare_digest", partial(spy, answer))
        assert (meaning(ROW, token("current")) is Meaning.CURRENT) is answer
    assert compared == [(SECRET_HASH, SECRET_HASH)] * 2


# current


@pytest.mark.parametrize(
    ("seconds", "settles"), [(0, False), (59.999999, False), (60, True), (3600, True), (-5, False)]
)
def test_current_settles_after_the_overlap(seconds: float, settles: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """A current token that is presented one overlap after its promotion settles; no successor is due yet."""
    verdict = judge(row(settled_at=None), token("current"), at(seconds), CONFIG)
    assert verdict == Verdict(Meaning.CURRENT, settles=settles, mints=False)


@pytest.mark.threat("ROT-01")
@pytest.mark.parametrize(
    ("settled", "seconds", "mints"),
    [
        (60, 899.999999, False),
        (60, 900, True),
        (60, 90_000, True),
        (840, 900, True),
        (840, 899.999999, False),
        (841, 900, False),
        (841, 900.999999, False),
        (841, 901, True),
        (5000, 5059.999999, False),
        (5000, 5060, True),
        (0, 900, True),
    ],
)
def test_current_mints_when_due(settled: float, seconds: float, mints: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """A successor is due one overlap after the token settled and `rotate_every` after its promotion, not before."""
    verdict = judge(row(settled_at=at(settled)), token("current"), at(seconds), CONFIG)
    assert verdict == Verdict(Meaning.CURRENT, settles=False, mints=mints)


def test_lease_is_not_judged() -> None:
    """judge() does not look at the lease: the statement that takes it does."""
    judged = row(settled_at=at(60), mint_until=at(10_000))
    assert judge(judged, token("current"), at(1000), CONFIG).mints


def test_spans_are_those_of_the_configuration() -> None:
    """Overlap, rotation and late window come from the options."""
    config = SessionConfig(
        rotation_overlap=timedelta(seconds=1), late_window=timedelta(seconds=2), rotate_every=timedelta(seconds=3)
    )
    assert not judge(ROW, token("current"), at(1) - TICK, config).settles
    assert judge(ROW, token("current"), at(1), config).settles
    assert not judge(row(settled_at=at(1)), token("current"), at(3) - TICK, config).mints
    assert judge(row(settled_at=at(1)), token("current"), at(3), config).mints
    judged = row(retired=retired(old=0), settled_at=at(0))
    assert judge(judged, token("old", 4), at(2) - TICK, config).meaning is Meaning.LATE
    assert judge(judged, token("old", 4), at(2), config).meaning is Meaning.REUSE


# promote, late, rollback, sibling, ahead, reuse

CHILD = token("child", 6, "current")
OLD = token("old", 3, "older")
PARENT = token("parent", 4, "grandparent")
SIBLING = token("sibling", 5, "parent")


@pytest.mark.parametrize("settled", [None, at(60)])
@pytest.mark.parametrize("seconds", [0, 10**7])
def test_child_is_promoted(settled: datetime | None, seconds: float) -> None:
    """A successor of the current token is promoted at any time, and gets no successor at once."""
    assert judge(row(settled_at=settled), CHILD, at(seconds), CONFIG) == Verdict(Meaning.PROMOTE)


@pytest.mark.parametrize(
    ("presented", "expected"),
    [
        (token("child", 6, "parent"), Meaning.AHEAD),
        (token("child", 6, None), Meaning.AHEAD),
        (token("child", 7, "current"), Meaning.AHEAD),
        (token("child", 5, "current"), Meaning.REUSE),
        (token("child", 4, "current"), Meaning.REUSE),
    ],
)
def test_child_needs_version_and_parent(presented: Token, expected: Meaning) -> None:
    """A token with only the next version, or only the right parent, is no successor."""
    assert meaning(row(settled_at=None), presented) is expected


@pytest.mark.threat("ROT-08")
@pytest.mark.parametrize("settled", [None, at(60)])
@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, Meaning.LATE), (599.999, Meaning.LATE), (600, Meaning.REUSE), (601, Meaning.REUSE), (10**7, Meaning.REUSE)],
)
def test_retired_token_is_late_for_ten_minutes(settled: datetime | None, seconds: float, expected: Meaning) -> None:
    """A retired token is accepted for the late window, its last instant included, and then it is reuse."""
    assert meaning(row(retired=retired(x=0, old=0, y=0), settled_at=settled), OLD, seconds) is expected


@pytest.mark.threat("ROT-08")
def test_late_token_brings_nothing_back() -> None:
    """A late token neither settles, mints, nor becomes current."""
    assert judge(row(retired=retired(old=0)), OLD, at(60), CONFIG) == Verdict(Meaning.LATE)
    assert Meaning.LATE not in ADOPTED


@pytest.mark.threat("ROT-10")
def test_crashed_browser_rolls_back_until_settled() -> None:
    """Until the current token settles its parent is accepted and gets another successor."""
    assert judge(row(settled_at=None), PARENT, at(10**6), CONFIG) == Verdict(Meaning.ROLLBACK, mints=True)
    assert meaning(row(settled_at=at(60)), PARENT, 10**6) is Meaning.REUSE
    assert meaning(row(settled_at=None), token("grandparent", 3, None)) is Meaning.REUSE


@pytest.mark.threat("ROT-02")
def test_unseen_sibling_takes_over_until_settled() -> None:
    """Until the current token settles another child of its parent becomes current, once."""
    assert judge(row(settled_at=None), SIBLING, at(10**6), CONFIG) == Verdict(Meaning.SIBLING)
    assert meaning(row(settled_at=at(60)), SIBLING, 61) is Meaning.REUSE
    assert meaning(row(settled_at=None, retired=retired(sibling=0)), SIBLING, 601) is Meaning.REUSE
    assert meaning(row(settled_at=None), token("cousin", 5, "uncle")) is Meaning.REUSE
    assert meaning(row(settled_at=None), token("nephew", 4, "parent")) is Meaning.REUSE


@pytest.mark.threat("ROT-05")
@pytest.mark.parametrize("settled", [None, at(60)])
@pytest.mark.parametrize(
    ("version", "expected"), [(6, Meaning.AHEAD), (99, Meaning.AHEAD), (5, Meaning.REUSE), (1, Meaning.REUSE)]
)
def test_greater_version_is_ahead(settled: datetime | None, version: int, expected: Meaning) -> None:
    """An unknown token with a greater version than the row's comes from a later state of the database."""
    assert judge(row(settled_at=settled), token("strange", version, "x"), at(0), CONFIG) == Verdict(expected)


@pytest.mark.threat("ROT-04")
@pytest.mark.parametrize(
    "presented", [OLD, PARENT, SIBLING, token("strange", 1, None)], ids=lambda presented: presented.id
)
def test_anything_else_is_reuse(presented: Token) -> None:
    """Once the current token has settled and the late window is over, every other token is a copy."""
    judged = row(settled_at=at(60), retired=retired(old=0, parent=0))
    assert judge(judged, presented, at(601), CONFIG) == Verdict(Meaning.REUSE)


# Which line decides


@pytest.mark.parametrize(
    ("judged", "presented", "seconds", "expected"),
    [
        # current before all others, though the token also is a retired one, its own parent, or one version ahead
        (row(retired=retired(current=0)), token("current"), 0, Meaning.CURRENT),
        (row(parent_id="current"), token("current"), 0, Meaning.CURRENT),
        (row(), token("current", 6, "current"), 0, Meaning.CURRENT),
        (row(), token("current", 99, None), 0, Meaning.CURRENT),
        # promote before late, rollback and ahead
        (row(retired=retired(child=0)), CHILD, 0, Meaning.PROMOTE),
        (row(retired=retired(child=0)), CHILD, 10**6, Meaning.PROMOTE),
        (row(parent_id="child"), CHILD, 0, Meaning.PROMOTE),
        # late before rollback, sibling and ahead
        (row(retired=retired(parent=0)), PARENT, 599, Meaning.LATE),
        (row(retired=retired(parent=0)), PARENT, 600, Meaning.ROLLBACK),
        (row(retired=retired(sibling=0)), SIBLING, 599, Meaning.LATE),
        (row(retired=retired(x=0)), token("x", 9, "y"), 599, Meaning.LATE),
        (row(retired=retired(x=0)), token("x", 9, "y"), 600, Meaning.AHEAD),
        # rollback before sibling and ahead
        (row(), token("parent", 5, "parent"), 0, Meaning.ROLLBACK),
        (row(), token("parent", 9, "x"), 0, Meaning.ROLLBACK),
        # a first token's row has no parent, and a token without one is no sibling of it once it has settled
        (row(parent_id=None, settled_at=at(0)), token("x", 5, None), 0, Meaning.REUSE),
    ],
)
def test_first_line_that_fits_decides(judged: Row, presented: Token, seconds: float, expected: Meaning) -> None:
    """If two lines fit, the upper one decides."""
    assert meaning(judged, presented, seconds) is expected


@pytest.mark.threat("SES-02")
def test_first_row_has_no_relatives() -> None:
    """A row after a login or rotate() is settled and has no parent: it accepts its token and a child only."""
    first = row(version=1, parent_id=None, settled_at=START)
    assert meaning(first, token("current", 1, None)) is Meaning.CURRENT
    assert meaning(first, token("child", 2, "current")) is Meaning.PROMOTE
    assert meaning(first, token("other", 1, None)) is Meaning.REUSE


def test_verdicts_have_their_names() -> None:
    """The lines of the table have the names of the documentation, in the order in which judge() tries them."""
    names = ["outdated", "invalid", "current", "promote", "late", "rollback", "sibling", "ahead", "reuse"]
    assert [meaning.value for meaning in Meaning] == names


def test_three_verdicts_make_a_token_current() -> None:
    """A successor, a sibling and a token that is ahead become current; no other token does."""
    assert {meaning for meaning in Meaning if meaning in ADOPTED} == {Meaning.PROMOTE, Meaning.SIBLING, Meaning.AHEAD}


def test_verdict_is_frozen() -> None:
    """A verdict can't be changed."""
    verdict: Any = judge(ROW, token("current"), at(0), CONFIG)
    with pytest.raises(FrozenInstanceError):
        verdict.mints = True


@pytest.mark.parametrize("meaning", Meaning)
@pytest.mark.parametrize("settles", [False, True])
@pytest.mark.parametrize("mints", [False, True])
def test_only_a_current_token_with_nothing_to_do_is_steady(meaning: Meaning, *, settles: bool, mints: bool) -> None:
    """The verdict on a late token does nothing either, but it does not hold until current_until()."""
    assert Verdict(meaning, settles, mints).is_steady is ((meaning, settles, mints) == (Meaning.CURRENT, False, False))


# When activity is written


@pytest.mark.threat("SES-05")
@pytest.mark.parametrize(
    ("idle", "after"),
    [(timedelta(days=30), 300), (timedelta(minutes=20), 300), (timedelta(minutes=5), 75), (timedelta(seconds=1), 0.25)],
)
def test_activity_is_written_early_enough_for_a_short_idle_time(idle: timedelta, after: float) -> None:
    """The next write is due after a quarter of the row's idle time, touch_interval at most."""
    assert touch_after(row(expires_at=START + idle), CONFIG) == timedelta(seconds=after)


@pytest.mark.parametrize("over", [timedelta(0), TICK])
def test_activity_that_lengthens_nothing_is_written_at_leisure(over: timedelta) -> None:
    """If the absolute limit comes first, a write is due after touch_interval, however little time is left."""
    end = START + timedelta(minutes=1)
    assert touch_after(row(expires_at=end + over, ends_at=end), CONFIG) == CONFIG.touch_interval
    assert touch_after(row(expires_at=end - TICK, ends_at=end), CONFIG) < CONFIG.touch_interval / 4


# The retired tokens that are kept


@pytest.mark.threat("ROT-04")
def test_no_sibling_is_taken_when_the_list_is_full() -> None:
    """While the row keeps eight retired tokens it accepts no new sibling, for which it would have to drop one."""
    assert MAX_RETIRED == 8
    crowd = row(retired=retired(**{f"r{n}": n for n in range(1, 1 + MAX_RETIRED)}))
    assert {meaning(crowd, token(f"r{n}"), 100) for n in range(1, 9)} == {Meaning.LATE}
    assert meaning(crowd, token("new"), 100) is Meaning.REUSE
    assert meaning(replace(crowd, retired=crowd.retired[1:]), token("new"), 100) is Meaning.SIBLING


@pytest.mark.threat("ROT-10")
def test_promotion_makes_room() -> None:
    """A promotion of the next version drops the tokens that retired late_window ago or longer; a sibling drops none."""
    before = row(retired=retired(long_ago=0, lately=0.001))
    promoted = adopted(before, token("next", 6, "current"), at(LATE))
    assert [each.token_id for each in promoted.retired] == ["lately", "current"]
    sibling = adopted(before, token("next"), at(LATE))
    assert [each.token_id for each in sibling.retired] == ["long_ago", "lately", "current"]


# Against a table, and against the simulation

ids = st.sampled_from(["a", "b", "c", "d", "e"])
seconds = st.one_of(
    st.sampled_from([0, OVERLAP, LATE, ROTATE, ROTATE + OVERLAP]).flatmap(
        lambda edge: st.sampled_from([edge - 0.001, edge, edge + 0.001])
    ),
    st.floats(-2000, 2000),
)
instants = seconds.map(at)
rows = st.builds(
    row,
    version=st.integers(1, 4),
    token_id=ids,
    parent_id=st.none() | ids,
    promoted_at=instants,
    settled_at=st.none() | instants,
    secret_replaced_at=st.none() | instants,
    mint_until=st.none() | instants,
    retired=st.lists(
        st.builds(Retired, ids | st.uuids().map(str), instants.map(datetime.timestamp)),
        max_size=MAX_RETIRED,
        unique_by=lambda r: r[0],
    ).map(tuple),
)
tokens = st.builds(
    token,
    ids,
    st.integers(1, 5),
    st.none() | ids,
    st.sampled_from([SECRET_HASH, SECRET_HASH, OTHER_HASH, b"", b"\x01" * 31]),
)

Line = tuple[Meaning, Callable[[Row, Token, float | None], bool]]
TABLE: list[Line] = [
    (Meaning.INVALID, lambda r, t, _: t.secret_hash != r.secret_hash),
    (Meaning.CURRENT, lambda r, t, _: t.id == r.token_id),
    (Meaning.PROMOTE, lambda r, t, _: (t.version, t.parent_id) == (r.version + 1, r.token_id)),
    (Meaning.LATE, lambda _r, _t, age: age is not None and age < LATE),
    (Meaning.ROLLBACK, lambda r, t, _: r.settled_at is None and t.id == r.parent_id),
    (
        Meaning.SIBLING,
        lambda r, t, age: (
            (r.settled_at, age, t.version, t.parent_id) == (None, None, r.version, r.parent_id) and len(r.retired) < 8
        ),
    ),
    (Meaning.AHEAD, lambda r, t, _: t.version > r.version),
    (Meaning.REUSE, lambda _r, _t, _age: True),
]


@given(judged=rows, presented=tokens, now=instants)
def test_judge_is_the_table(judged: Row, presented: Token, now: datetime) -> None:
    """For any row and token judge() returns the table's verdict, raises nothing, and changes nothing."""
    age = next((now.timestamp() - at for token_id, at in judged.retired if token_id == presented.id), None)
    expected = next(meaning for meaning, fits in TABLE if fits(judged, presented, age))
    if expected is Meaning.INVALID and judged.secret_replaced_at is not None and presented.version <= judged.version:
        expected = Meaning.OUTDATED if now - judged.secret_replaced_at >= timedelta(seconds=LATE) else expected
    before = repr(judged), judged.retired
    verdict = judge(judged, presented, now, CONFIG)
    assert verdict.meaning is expected
    assert (verdict.meaning in {Meaning.INVALID, Meaning.OUTDATED}) == (presented.secret_hash != judged.secret_hash)
    assert not verdict.settles or (expected is Meaning.CURRENT and judged.settled_at is None)
    assert not verdict.mints or expected is Meaning.ROLLBACK or judged.settled_at is not None
    assert not (verdict.settles and verdict.mints)
    assert (repr(judged), judged.retired) == before
    assert judge(judged, presented, now, CONFIG) == verdict


@pytest.mark.parametrize(
    ("is_holder", "seconds", "free"),
    [
        *((True, 0, False), (True, LATE - 0.001, False), (True, LATE, True)),
        *((False, 0, False), (False, OVERLAP - 0.001, False), (False, OVERLAP, True)),
    ],
)
def test_lease_is_longer_for_the_holder(seconds: float, *, is_holder: bool, free: bool) -> None:
    """After a lease of its own the holder gets no second successor for late_window; others wait for one overlap."""
    leased, _ = lease(row(), START, "current", is_holder=True)
    assert is_lease_free(leased, at(seconds), is_holder=is_holder) is free


def test_others_wait_twice_as_long_each_time() -> None:
    """After each successor of another client the holder waits for one overlap, the other for two, four, eight."""
    judged, now = row(holder_until=START, leased_for="parent", leased_often=7), 0
    for waits in (2, 4, 8, 16):
        judged, taken = lease(judged, at(now), "current", is_holder=False)
        assert taken
        assert not is_lease_free(judged, at(now + OVERLAP - 0.001), is_holder=True)
        assert is_lease_free(judged, at(now + OVERLAP), is_holder=True)
        now += OVERLAP * waits
        assert not is_lease_free(judged, at(now - 0.001), is_holder=False)


def test_successor_of_another_client_never_shortens_the_holders_wait() -> None:
    """A successor of another client never shortens the holder's wait after its own."""
    leased, _ = lease(row(), START, "current", is_holder=True)
    other, taken = lease(leased, at(OVERLAP), "current", is_holder=False)
    assert taken
    assert not is_lease_free(other, at(LATE - 0.001), is_holder=True)
    assert is_lease_free(other, at(LATE), is_holder=True)
    assert is_lease_free(other, at(3 * OVERLAP), is_holder=False)


def test_client_becomes_holder_when_its_token_settles() -> None:
    """The client that promoted the current token becomes the holder when it settles, and stays the holder then."""
    promoted = row(holder="before", promoted_by="now")
    assert rotation.holder_of(promoted) == "before"
    assert rotation.holder_of(replace(promoted, settled_at=START)) == "now"
    assert rotation.holder_of(row(holder="before", settled_at=START)) == "before"


def test_no_lease_is_free() -> None:
    """Every client may take the lease of a session that was never leased, or whose secret is new."""
    assert is_lease_free(row(), START, is_holder=True)
    assert is_lease_free(row(), START, is_holder=False)


@given(rows, seconds)
def test_current_token_stays_as_judged_until_a_known_instant(judged: Row, after: float) -> None:
    """Before current_until() the current token's verdict is steady; from then on the token settles or mints."""
    judged = replace(judged, secret_hash=SECRET_HASH)
    until = rotation.current_until(judged, CONFIG)
    now = until + timedelta(seconds=after)
    verdict = judge(judged, token(judged.token_id, judged.version, judged.parent_id), now, CONFIG)
    assert verdict.is_steady is (verdict == Verdict(Meaning.CURRENT)) is (now < until)


@dataclass
class Sim:
    """An independent state machine for the row, in seconds, with the limit to siblings."""

    version: int = 1
    current: int = 0
    parent: int | None = None
    promoted: float = 0
    settled: float | None = 0
    lease: float = 0
    retired: dict[int, float] = field(default_factory=dict)
    adopted: int = 0  # of this version

    def judge(  # noqa: PLR0911 - one per line of the table
        self, presented: tuple[int, int, int | None], now: float
    ) -> tuple[str, bool]:
        """Return the verdict on (id, version, parent), and whether a successor is minted."""
        token_id, version, parent = presented
        if token_id == self.current:
            if self.settled is None and now - self.promoted >= OVERLAP:
                self.settled = now
            elif self.settled is not None and now - self.settled >= OVERLAP and now - self.promoted >= ROTATE:
                return "current", self._mint(now)
            return "current", False
        if version == self.version + 1 and parent == self.current:
            self._adopt(presented, now)
            return "promote", False
        since = self.retired.get(token_id)
        if since is not None and now - since < LATE:
            return "late", False
        if self.settled is None and token_id == self.parent:
            return "rollback", self._mint(now)
        is_new = since is None and self.adopted < MAX_RETIRED
        if self.settled is None and is_new and (version, parent) == (self.version, self.parent):
            self._adopt(presented, now)
            return "sibling", False
        return "reuse", False

    def _mint(self, now: float) -> bool:
        if now < self.lease:
            return False
        self.lease = now + LATE
        return True

    def _adopt(self, presented: tuple[int, int, int | None], now: float) -> None:
        self.retired[self.current] = now
        self.adopted = self.adopted + 1 if presented[1] == self.version else 1
        self.current, self.version, self.parent = presented
        self.promoted, self.settled = now, None


pauses = st.sampled_from([0, 1, 30, 59, 60, 61, 300, 599, 600, 601, 840, 899, 900, 901, 5000])
presentations = st.lists(st.tuples(pauses, st.integers(0, 3)), max_size=60)


@pytest.mark.threat("ROT-04")
@given(presentations)
def test_judge_is_the_simulation(steps: list[tuple[int, int]]) -> None:
    """
    For any order in which a session's tokens come back, judge() and the simulated row say the same to the end.

    The test leaves open which party holds which token: lost, late and reordered responses, crashes and thieves are all
    orders of presentation. No token is "ahead", because no database went back.
    """
    sim, judged = Sim(), FIRST
    minted: list[tuple[int, int, int | None]] = [(0, 1, None)]
    next_id, now = count(1), 0.0
    for pause, back in steps:
        now += pause
        number, version, parent = chosen = minted[-1 - back % len(minted)]
        presented = token(str(number), version, None if parent is None else str(parent))
        verdict = judge(judged, presented, at(now), CONFIG)
        expected, mints = sim.judge(chosen, now)
        assert verdict.meaning.value == expected
        judged, leased = written(judged, presented, verdict, at(now))
        assert leased is mints
        if mints:
            minted.append((next(next_id), version + 1, number))
        if expected == "reuse":
            return


@pytest.mark.threat("ROT-09")
@given(st.lists(st.tuples(pauses, st.sampled_from(["answer", "lose", "crash"])), max_size=60))
def test_honest_browser_is_never_logged_out(steps: list[tuple[int, str]]) -> None:
    """A browser that sends its cookie is accepted, though responses get lost and crashes throw the last cookie away."""
    judged = FIRST
    jar = disk = token("0", 1, None)
    next_id, now, changed_at = count(1), 0.0, 0.0
    for pause, event in steps:
        now += pause
        if now - changed_at >= OVERLAP:
            disk = jar  # long enough for a browser to write its cookies
        if event == "crash":
            jar = disk
        verdict = judge(judged, jar, at(now), CONFIG)
        assert verdict.meaning not in (Meaning.REUSE, Meaning.INVALID, Meaning.AHEAD)
        judged, leased = written(judged, jar, verdict, at(now))
        if leased and event == "answer":
            jar, changed_at = token(str(next(next_id)), jar.version + 1, jar.id), now
