"""
What a presented token means for its session: a pure function of row, token and time.

A successor is minted by signing alone, and the database learns of it when a client first presents it; so a lost
response loses nothing. Every successor is unique, so two holders of one token end up on different branches, and that
shows. The first line of the table that fits decides; docs/rotation.md has the table, its time lines and its limits.

RFC 9700, 4.14.2 asks for detection of refresh-token replay; its plain rule ("an old token again is theft") logs
honest users out whenever a response is lost, which is what overlap, late window, rollback and sibling are for.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from hmac import compare_digest

from aiosess._row import Row
from aiosess._token.token import Token
from aiosess.config import SessionConfig

# The row keeps this many retired tokens. Before a version settles honest use retires one or two; each further one needs
# another crash or a second holder. When there is no room left a sibling is reuse: were one forgotten instead, it would
# be a sibling again, and two holders could take turns for ever.
MAX_RETIRED = 8


class Meaning(Enum):
    """What a presented token is to its session."""

    INVALID = "invalid"
    CURRENT = "current"
    PROMOTE = "promote"
    LATE = "late"
    ROLLBACK = "rollback"
    SIBLING = "sibling"
    AHEAD = "ahead"
    REUSE = "reuse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What a token means, and what follows.

    Attributes:
        meaning: The line of the table.
        settles: The current token was presented again: note ``settled_at``.
        mints: A successor of the presented token is due, if the lease is free.

    """

    meaning: Meaning
    settles: bool = False
    mints: bool = False

    @property
    def is_steady(self) -> bool:
        """Whether the token is current and nothing is to be done until ``current_until()``."""
        return self.meaning is Meaning.CURRENT and not self.settles and not self.mints


# These make the presented token the current one.
ADOPTED = frozenset({Meaning.PROMOTE, Meaning.SIBLING, Meaning.AHEAD})


def judge(row: Row, token: Token, now: datetime, config: SessionConfig) -> Verdict:  # noqa: PLR0911 - one per line of the table
    """
    Say what a presented token means for its live session.

    ``now`` is the database's clock. The secret is compared in constant time.
    Nothing is written here; what is to be written compares-and-sets the row
    that was judged.
    """
    if not compare_digest(token.secret_hash, row.secret_hash):
        return Verdict(Meaning.INVALID)
    if token.id == row.token_id:
        return _current(row, now, config)
    if token.version == row.version + 1 and token.parent_id == row.token_id:
        return Verdict(Meaning.PROMOTE)
    retired_at = _retired_at(row, token)
    if retired_at is not None and now.timestamp() - retired_at < config.late_window.total_seconds():
        return Verdict(Meaning.LATE)
    if row.settled_at is None:
        if token.id == row.parent_id:
            return Verdict(Meaning.ROLLBACK, mints=True)
        is_new = retired_at is None and len(row.retired) < MAX_RETIRED
        if is_new and token.version == row.version and token.parent_id == row.parent_id:
            return Verdict(Meaning.SIBLING)
    return Verdict(Meaning.AHEAD if token.version > row.version else Meaning.REUSE)


def holder_of(row: Row) -> str | None:
    """Return the digest of the client that the session is at home with; None: that of the login."""
    return row.holder if row.settled_at is None else row.promoted_by or row.holder


def is_lease_free(row: Row, now: datetime, *, is_holder: bool) -> bool:
    """
    Say whether a successor may be minted for a client; ``lease.sql`` says the same when it takes the lease.

    Nobody gets a second successor within one overlap. The holder, with whom
    the session is at home, gets none after its own for as long as a request
    may be late: who left with the parent before its successor arrived must
    not have another one minted. Others wait for two overlaps after theirs,
    and twice as long for each further one of the same token: so the holder's
    turn comes, or a thief who asks often and throws every successor away
    would keep the owner from getting any.
    """
    until = row.holder_until if is_holder else row.mint_until
    return until is None or until <= now


def current_until(row: Row, config: SessionConfig) -> datetime:
    """Return from when on the current token settles or gets a successor, if the row stays as it is."""
    if row.settled_at is None:
        return row.promoted_at + config.rotation_overlap
    return max(row.settled_at + config.rotation_overlap, row.promoted_at + config.rotate_every)


def touch_after(row: Row, config: SessionConfig) -> timedelta:
    """Return how long after the last note of activity the next one is due: early enough for a short idle time."""
    if row.expires_at >= row.ends_at:
        return config.touch_interval  # the absolute limit comes first
    return min(config.touch_interval, (row.expires_at - row.last_active_at) / 4)


def _current(row: Row, now: datetime, config: SessionConfig) -> Verdict:
    if now < current_until(row, config):
        return Verdict(Meaning.CURRENT)
    if row.settled_at is None:
        return Verdict(Meaning.CURRENT, settles=True)
    return Verdict(Meaning.CURRENT, mints=True)


def _retired_at(row: Row, token: Token) -> float | None:
    for retired in row.retired:
        if retired.token_id == token.id:
            return retired.at
    return None
