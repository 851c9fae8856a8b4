"""Which revocations a login may overlook: those of its own request, unless they hide another."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from aiosess._postgres.login_race import Revocation, excused, note_own, own_revocations

CAME_AT = datetime(2026, 1, 1, tzinfo=UTC)  # of the request, whose monotonic clock says 0 then


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Leave the list of this context as it was."""
    token = own_revocations.set(None)
    yield
    own_revocations.reset(token)


def at(seconds: float) -> datetime:
    """Return an instant so long after the request came in."""
    return CAME_AT + timedelta(seconds=seconds)


def own(user: str | None, when: float, earlier: float | None) -> Revocation:
    """Return a revocation of the request, of which it knew at once, and when the one before it was."""
    return Revocation(user, at(when), None if earlier is None else at(earlier), when)


CASES = {
    "the first ever": ([own("ada", 1, None)], [1]),
    "one before the request": ([own("ada", 1, -1)], [1]),
    "somebody else's since": ([own("ada", 2, 1)], []),
    "two in a row": ([own("ada", 1, -1), own("ada", 2, 1)], [1, 2]),
    "the second noted first": ([own("ada", 2, 1), own("ada", 1, -1)], [1, 2]),
    "the second behind one that hides": ([own("ada", 2, 1), own("ada", 3, 2)], []),
    "somebody else's between two": ([own("ada", 1, -1), own("ada", 3, 2)], [1]),
    "of another user": ([own("bob", 1, -1)], []),
    "of everybody": ([own(None, 1, -1), own("ada", 2, -1)], [1, 2]),
}


@pytest.mark.threat("SES-07")
@pytest.mark.parametrize("name", CASES)
def test_own_revocations_are_excused_unless_they_hide_another(name: str) -> None:
    """A login overlooks what its request revoked, up to where somebody else revoked since it came in."""
    revocations, expected = CASES[name]
    own_revocations.set(revocations)
    assert excused("ada", 0) == [at(when) for when in expected]


@pytest.mark.threat("SES-07")
def test_what_is_known_late_is_no_excuse() -> None:
    """While the answer travelled somebody else may have come first: what is not certain counts as hidden."""
    own_revocations.set([Revocation("ada", at(1), at(-1), 3.0)])
    assert excused("ada", 0) == []


def test_outside_of_a_request_nothing_is_noted() -> None:
    """A job that revokes keeps no list of it."""
    note_own("ada", at(1), None)
    assert own_revocations.get() is None
    assert excused("ada", 0) == []
