"""Every schedule of small worlds: what is promised of rotation, how long a theft lasts, and that errors are found."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from aiosess._row import Row
from aiosess._token import rotation, version_cookie
from aiosess._token.rotation import Meaning, Verdict
from aiosess._token.token import Token
from tests.rotation.explore import ENDLESS, Spans, world
from tests.rotation.explore_owner import Faults, Search
from tests.rotation.explore_theft import Chase, Parties
from tests.rotation.seeds import Seed, judging_in
from tests.world import statements
from tests.world.statements import Stored

NIGHTLY = os.environ.get("AIOSESS_NIGHTLY") == "1"
SMALL = Spans(2, 6, 9)
# The defaults in minutes, spans that don't fit into one another, and a finer grid; nightly down to ten seconds.
GRIDS = [SMALL, Spans(1, 10, 15), Spans(3, 7, 11), Spans(4, 12, 18)]
FINE = [Spans(2, 20, 30), Spans(6, 60, 90), Spans(5, 17, 31)]
BOTH = ("O", "X")


def logged_out(spans: Spans, faults: Faults) -> list[str]:
    """Return the shortest schedule that logs an honest owner out; none is an empty one."""
    with world(spans) as server:
        return Search(server, faults).run()[1]


def lasts(spans: Spans, parties: Parties) -> int:
    """Return how long a theft in which both go on may last."""
    with world(spans) as server:
        return Chase(server, parties).run()


# One fault at a time, as docs/rotation.md promises

PROMISED: dict[str, Callable[[Spans], Faults]] = {
    "slow requests": lambda spans: Faults(within=spans.late),
    "slow responses and requests": lambda spans: Faults(within=spans.late, slow_responses=True),
    "lost responses": lambda _: Faults(loses=True),
    "crashes": lambda spans: Faults(crashes=spans.overlap),
    "lost and late settled marks": lambda _: Faults(marks=True),
    "two addresses": lambda spans: Faults(within=spans.overlap, slow_responses=True, clients=BOTH),
    "old session stores": lambda _: Faults(stores=True),
    "old session stores, slow": lambda spans: Faults(stores=True, within=spans.late, slow_responses=True),
    "old session stores, disk": lambda spans: Faults(stores=True, crashes=spans.overlap, onward=True),
    "three addresses": lambda spans: Faults(within=spans.overlap, slow_responses=True, clients=("O", "X", "Y")),
}


@pytest.mark.threat("ROT-03")
@pytest.mark.threat("ROT-08")
@pytest.mark.threat("ROT-10")
@pytest.mark.threat("ROT-12")
@pytest.mark.parametrize("spans", GRIDS + FINE * NIGHTLY, ids=str)
@pytest.mark.parametrize("name", PROMISED)
def test_no_schedule_logs_an_honest_owner_out(spans: Spans, name: str) -> None:
    """With one kind of fault, however often and in whatever order, the owner's cookie is accepted."""
    if PROMISED[name](spans).crashes:
        spans = replace(spans, kept=ENDLESS)  # see the next test
    assert logged_out(spans, PROMISED[name](spans)) == []


@pytest.mark.parametrize("kept", [2, 3, 4])
def test_crashes_in_a_row_are_as_many_as_the_row_keeps_tokens(kept: int) -> None:
    """Who crashes so many times, and never uses a cookie for one overlap in between, is logged out."""
    schedule = logged_out(replace(SMALL, kept=kept), PROMISED["crashes"](SMALL))
    assert sum(step.startswith("crash") for step in schedule) == kept


BEYOND = {
    "slow requests": Faults(within=SMALL.late + 1),
    "slow responses and requests": Faults(within=SMALL.late + 1, slow_responses=True),
    "crashes": Faults(crashes=SMALL.overlap + 1),
    "two addresses": Faults(within=SMALL.overlap + 1, slow_responses=True, clients=BOTH),
    "old session stores, disk": Faults(stores=True, crashes=SMALL.overlap + 1, onward=True),
}


@pytest.mark.parametrize("name", BEYOND)
def test_limits_are_exact(name: str) -> None:
    """One unit more than is promised logs somebody out."""
    assert logged_out(replace(SMALL, kept=ENDLESS), BEYOND[name])[-1].endswith("reuse")


# Not promised: two kinds of fault at once. What holds all the same, and what doesn't.

TOGETHER = {
    "slow and lost": (Faults(within=SMALL.late, slow_responses=True, loses=True), True),
    "slow, lost and marks": (Faults(within=SMALL.late, slow_responses=True, loses=True, marks=True), True),
    "crashes, lost and marks": (Faults(crashes=SMALL.overlap, loses=True, marks=True), True),
    "crashes and two addresses": (Faults(crashes=SMALL.overlap, clients=BOTH), True),
    "lost and two addresses": (Faults(loses=True, clients=BOTH), True),
    "old session stores, slow, lost and marks": (
        Faults(stores=True, within=SMALL.late, slow_responses=True, loses=True, marks=True),
        True,
    ),
    "old session stores, disk, lost and marks": (
        Faults(stores=True, crashes=SMALL.overlap, onward=True, loses=True, marks=True),
        True,
    ),
    # A crash loses the new version cookie but not the session cookie. A second one, before the next rotation, brings
    # back a session cookie that is older than the one of the first.
    "old session stores, disk, ever older": (Faults(stores=True, crashes=SMALL.overlap), False),
    # A request left with the new cookie before the crash that loses it, and settles it later.
    "crashes and slow": (Faults(within=SMALL.overlap, crashes=SMALL.overlap), False),
    "slow, lost and two addresses": (
        Faults(within=SMALL.overlap, slow_responses=True, loses=True, clients=BOTH),
        True,
    ),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_two_faults_at_once(name: str) -> None:
    """Some kinds of fault do no harm together, others do."""
    faults, holds = TOGETHER[name]
    assert (logged_out(replace(SMALL, kept=ENDLESS), faults) == []) is holds


# Theft


# How many units a theft lasts at most. The rows of the defaults, in minutes and half-minutes, are on the page.
LONGEST = [
    (Spans(1, 3, 5), Parties(), 16),
    (Spans(1, 3, 5, 2), Parties(), 15),
    (Spans(1, 3, 5), Parties(owner=3), 33),
    (Spans(1, 3, 5, 3), Parties(), 16),
    (Spans(1, 3, 5, ENDLESS), Parties(keeps=3), 16),
    (Spans(2, 6, 9), Parties(), 29),
    (Spans(1, 10, 15), Parties(), 40),
    (Spans(1, 3, 5), Parties(stores=True), 16),
    (Spans(2, 6, 9), Parties(stores=True), 29),
    *[
        (Spans(1, 3, 5), Parties(keeps=4), 16),
        (Spans(1, 3, 5), Parties(owner=3, stores=True), 33),
        (Spans(1, 10, 15), Parties(stores=True), 40),
        (Spans(1, 4, 6, 3), Parties(owner=3), 36),
        (Spans(2, 6, 9), Parties(owner=3, keeps=3), 47),
        (Spans(1, 10, 15), Parties(owner=2), 49),
        (Spans(1, 10, 15), Parties(owner=5), 78),
        (Spans(2, 20, 30), Parties(owner=2, thief=2), 86),
    ]
    * NIGHTLY,
]


@pytest.mark.threat("ROT-04")
@pytest.mark.threat("ROT-12")
@pytest.mark.parametrize(("spans", "parties", "units"), LONGEST, ids=str)
def test_theft_in_which_both_go_on_ends(spans: Spans, parties: Parties, units: int) -> None:
    """
    Every theft is found, however clever the thief is.

    The longest way there: the owner is about to present a new token; it lives
    for `rotate_every`; the thief keeps the owner waiting for a successor,
    rotates, and is silent; the owner is late, rolls back and is about to
    settle; the thief has kept another successor; the owner is late again.
    """
    assert lasts(spans, parties) == units


@pytest.mark.parametrize("parties", [Parties(clients=("O",)), Parties(home="H")], ids=["thief at home", "owner moved"])
def test_thief_who_is_no_less_at_home_may_stay(parties: Parties) -> None:
    """A thief who is taken for the holder, or is no more a stranger than the owner, may win every successor."""
    assert lasts(Spans(1, 3, 5), parties) == ENDLESS


# Seeded errors


judging = partial(judging_in, rotation)


def settle_at_once(patch: pytest.MonkeyPatch) -> None:
    """Take a token that was presented once for one that is kept."""
    written = statements.written

    def miswritten(
        judged: Stored, presented: Token, verdict: Verdict, now: datetime, client: str
    ) -> tuple[Stored, bool]:
        row, leased = written(judged, presented, verdict, now, client)
        return replace(row, settled_at=row.settled_at or now), leased

    patch.setattr(statements, "written", miswritten)


def leasing(*, spares_uploads: bool, is_kept: bool) -> Seed:
    """Lease for one overlap, whoever asks; or let others keep the holder waiting again and again."""
    lease = statements.lease

    def mislease(judged: Stored, now: datetime, presented: str, *others: Any, is_holder: bool) -> tuple[Stored, bool]:
        row, taken = lease(judged, now, presented, *others, is_holder=is_holder)
        if taken and is_kept:
            row = replace(row, mint_until=row.holder_until, leased_often=0)
        if taken and is_holder and not spares_uploads:
            row = replace(row, holder_until=row.mint_until)
        return row, taken

    return lambda patch: patch.setattr(statements, "lease", mislease)


def forget(patch: pytest.MonkeyPatch) -> None:
    """Make room for a sibling when there is none, as if the oldest retired token had never been."""
    judge = rotation.judge

    def misjudge(row: Row, *others: Any) -> Verdict:
        return judge(replace(row, retired=row.retired[-rotation.MAX_RETIRED + 1 :]), *others)

    patch.setattr(rotation, "judge", misjudge)


def ignore_version_cookies(patch: pytest.MonkeyPatch) -> None:
    """Take every session cookie as it is."""
    patch.setattr(version_cookie, "at_place", lambda token, _: token)


HONEST: dict[str, tuple[Faults, Seed]] = {
    "version cookies are ignored": (PROMISED["old session stores"](SMALL), ignore_version_cookies),
    "late is reuse": (PROMISED["slow requests"](SMALL), judging(Meaning.LATE, meaning=Meaning.REUSE)),
    "late is reuse, crashes": (PROMISED["crashes"](SMALL), judging(Meaning.LATE, meaning=Meaning.REUSE)),
    "the holder's lease is short": (PROMISED["slow requests"](SMALL), leasing(spares_uploads=False, is_kept=False)),
    "rollback is reuse": (PROMISED["crashes"](SMALL), judging(Meaning.ROLLBACK, meaning=Meaning.REUSE, mints=False)),
    "sibling is reuse": (PROMISED["crashes"](SMALL), judging(Meaning.SIBLING, meaning=Meaning.REUSE)),
    "settled at once": (PROMISED["crashes"](SMALL), settle_at_once),
}
# With how many tokens a thief needs for it.
THEFT: dict[str, tuple[Seed, int]] = {
    "reuse is late": (judging(Meaning.REUSE, meaning=Meaning.LATE), 1),
    "late gets a successor": (judging(Meaning.LATE, mints=True), 2),
    "a thief may keep the lease": (leasing(spares_uploads=True, is_kept=True), 1),
    "nothing ever settles": (judging(Meaning.CURRENT, settles=False), 1),
    "the row forgets": (forget, 2),
}


@pytest.mark.parametrize("name", HONEST)
def test_error_that_logs_out_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An error that is put into the rules logs an honest owner out."""
    faults, seed = HONEST[name]
    endless = replace(SMALL, kept=ENDLESS)
    assert logged_out(endless, faults) == []
    seed(monkeypatch)
    assert logged_out(endless, faults) != []


@pytest.mark.parametrize("name", THEFT)
def test_error_that_hides_a_theft_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An error that is put into the rules lets a theft go on for ever."""
    seed, keeps = THEFT[name]
    assert lasts(Spans(1, 3, 5, 2), Parties(keeps=keeps)) < ENDLESS
    seed(monkeypatch)
    assert lasts(Spans(1, 3, 5, 2), Parties(keeps=keeps)) == ENDLESS
