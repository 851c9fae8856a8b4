"""
Judges a presented token against its session's row: a pure function of row, token and time.

A successor is minted by signing alone, and the database learns of it when a client first presents it. So a lost
response loses nothing. Every successor is unique, so two parties with copies of one token get different successors, and
the difference gives the copy away. ``judge()`` goes through a table and takes the first line that fits;
docs/rotation.md has the table, its time lines and its limits.

RFC 9700, 4.14.2 asks servers to detect the replay of a refresh token. Its simple rule, that an old token is theft,
would log honest users out whenever a response is lost. Overlap, late window, rollback and sibling prevent that.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from hmac import compare_digest

from aiosess._row import Row
from aiosess._token.token import Token
from aiosess.config import SessionConfig

# The row keeps this many retired tokens. Before a version settles an honest browser retires one or two; each further
# one needs another crash, or a second party. When the list is full a new sibling is reuse. If the row forgot an old
# token instead, that one would be a sibling again, and two parties could take turns for ever.
MAX_RETIRED = 8


class Meaning(Enum):
    """The lines of the table: what a presented token is to its session."""

    OUTDATED = "outdated"
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
        settles: The current token was presented again, so the row's ``settled_at`` is due to be written.
        mints: A successor of the presented token is due. The request mints it if the lease is free.

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
    The function writes nothing. The writes that follow name the row that was
    judged, and do nothing if the row has changed since.
    """
    if not compare_digest(token.secret_hash, row.secret_hash):
        return Verdict(Meaning.OUTDATED if _is_outdated(row, token, now, config) else Meaning.INVALID)
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
    """Return the digest of the session's holder; None: the client of the login."""
    return row.holder if row.settled_at is None else row.promoted_by or row.holder


def is_lease_free(row: Row, now: datetime, *, is_holder: bool) -> bool:
    """
    Say whether a successor may be minted for a client; ``lease.sql`` says the same when it takes the lease.

    No client gets a second successor within one overlap. After one of its own
    the holder waits for the late window: a request that left with the parent
    before the successor arrived must not mint another one. Other clients wait
    for two overlaps, and twice as long for each further successor of the same
    token. So the holder's turn comes, even if a thief asks more often and
    throws every successor away.
    """
    until = row.holder_until if is_holder else row.mint_until
    return until is None or until <= now


def current_until(row: Row, config: SessionConfig) -> datetime:
    """Return the instant from which the current token settles or gets a successor, if the row stays as it is."""
    if row.settled_at is None:
        return row.promoted_at + config.rotation_overlap
    return max(row.settled_at + config.rotation_overlap, row.promoted_at + config.rotate_every)


def touch_after(row: Row, config: SessionConfig) -> timedelta:
    """Return the span between two writes of ``last_active_at``: shorter than the option if the idle time is short."""
    if row.expires_at >= row.ends_at:
        return config.touch_interval  # the absolute limit comes first
    return min(config.touch_interval, (row.expires_at - row.last_active_at) / 4)


def _is_outdated(row: Row, token: Token, now: datetime, config: SessionConfig) -> bool:
    """
    Say whether ``rotate()`` replaced a token's secret too long ago for the request to have been in flight then.

    ``rotate()`` raises the version by one, and so no token of the old secret
    has a greater version than the row's. If a token has, its secret is newer:
    the database went back in time.
    """
    replaced_at = row.secret_replaced_at
    return replaced_at is not None and token.version <= row.version and now - replaced_at >= config.late_window


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
