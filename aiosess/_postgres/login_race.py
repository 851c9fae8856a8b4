"""
Logins and revocations at the same time.

A login that was under way when the user's sessions were revoked no longer counts. But a handler that resets a password,
or allows one session at a time, revokes and then signs in: the login may overlook the revocation of its own request.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from time import monotonic


@dataclass(frozen=True, slots=True)
class Revocation:
    """
    The end of all sessions of a user, or (None) of everybody.

    Attributes:
        revoked_at: When it was, by the database's clock.
        earlier_at: When the one before it was, if there was one.
        known_at: When this process knew of it, by the monotonic clock (seconds).

    """

    user_id: str | None
    revoked_at: datetime
    earlier_at: datetime | None
    known_at: float

    def is_first_since(self, began: float) -> bool:
        """Say whether for certain no other revocation came between it and the moment when a request was received."""
        came_at = self.revoked_at - timedelta(seconds=self.known_at - began)
        return self.earlier_at is None or self.earlier_at < came_at


# The revocations of the request that runs. A list, so that tasks which the request starts add to the same one.
own_revocations: ContextVar[list[Revocation] | None] = ContextVar("aiosess_own_revocations", default=None)


def excused(user_id: str, began: float) -> list[datetime]:
    """
    Return the revocations that a login of the same request may overlook.

    A revocation that hides an earlier one by somebody else, made since the request began, is not among them.
    """
    instants: list[datetime] = []
    for each in sorted(own_revocations.get() or (), key=attrgetter("revoked_at")):
        if each.user_id in {user_id, None} and (each.is_first_since(began) or each.earlier_at in instants):
            instants.append(each.revoked_at)
    return instants


def note_own(user_id: str | None, revoked_at: datetime, earlier_at: datetime | None) -> None:
    """Note a revocation that was just made, if a request made it."""
    own = own_revocations.get()
    if own is not None:
        own.append(Revocation(user_id, revoked_at, earlier_at, monotonic()))
