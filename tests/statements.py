"""What the statements of rotation in sql/ write, in Python; tests/test_statements.py compares the two."""

from dataclasses import dataclass, replace
from datetime import datetime

from aiosess import rotation
from aiosess.config import SessionConfig
from aiosess.rotation import ADOPTED, Verdict, is_lease_free
from aiosess.session import Retired, Row
from aiosess.token import Token

CONFIG = SessionConfig()


@dataclass(frozen=True, slots=True)
class Stored(Row):
    """A row, and what the statements in sql/ note of its lease for one another."""

    leased_to: str | None = None
    leased_for: str | None = None


def lease(
    judged: Stored, now: datetime, presented: str, client: str | None = None, *, is_holder: bool
) -> tuple[Stored, bool]:
    """Return the row after a successor of a presented token was asked for, and whether the lease was taken."""
    if not is_lease_free(judged, now, is_holder=is_holder):
        return judged, False
    until: datetime | None = now + (CONFIG.late_window if is_holder else CONFIG.rotation_overlap)
    if not is_holder and judged.leased_for == presented:
        until = judged.holder_until
    overlap = now + CONFIG.rotation_overlap
    return replace(judged, mint_until=overlap, holder_until=until, leased_to=client, leased_for=presented), True


def adopted(judged: Stored, presented: Token, now: datetime, client: str | None = None) -> Stored:
    """Return the row after a presented token became the current one; all that ever retired are kept."""
    return replace(
        judged,
        version=presented.version,
        token_id=presented.id,
        parent_id=presented.parent_id,
        promoted_at=now,
        settled_at=None,
        holder=rotation.holder_of(judged),
        promoted_by=client if judged.leased_to == client else None,
        retired=(*judged.retired, Retired(judged.token_id, now.timestamp())),
    )


def written(
    judged: Stored, presented: Token, verdict: Verdict, now: datetime, client: str | None = None
) -> tuple[Stored, bool]:
    """Return the row after what the verdict asks for, and whether the lease was taken."""
    if verdict.meaning in ADOPTED:
        return adopted(judged, presented, now, client), False
    if verdict.settles:
        return replace(judged, settled_at=now), False
    if verdict.mints:
        return lease(judged, now, presented.id, client, is_holder=client == rotation.holder_of(judged))
    return judged, False


def rotated(judged: Stored, fresh: Token, now: datetime, client: str) -> Stored:
    """Return the row after rotate()."""
    return replace(
        judged,
        secret_hash=fresh.secret_hash,
        version=fresh.version,
        token_id=fresh.id,
        parent_id=None,
        promoted_at=now,
        settled_at=now,
        mint_until=None,
        holder=client,
        promoted_by=None,
        holder_until=None,
        leased_to=None,
        leased_for=None,
        retired=(),
    )
