"""What the statements of rotation in sql/ write, in Python; tests/postgres/test_statements.py compares the two."""

from dataclasses import dataclass, replace
from datetime import datetime

from aiosess._row import Retired, Row
from aiosess._token import rotation
from aiosess._token.rotation import ADOPTED, MAX_RETIRED, Meaning, Verdict, is_lease_free
from aiosess._token.token import Token
from aiosess.config import SessionConfig

CONFIG = SessionConfig()


@dataclass(frozen=True, slots=True)
class Stored(Row):
    """A row, and what the statements in sql/ note of its lease for one another."""

    leased_to: str | None = None
    leased_for: str | None = None
    leased_often: int = 0
    promoted_ip: str | None = None
    promoted_user_agent: str | None = None


def lease(
    judged: Stored, now: datetime, presented: str, client: str | None = None, *, is_holder: bool
) -> tuple[Stored, bool]:
    """Return the row after a successor of a presented token was asked for, and whether the lease was taken."""
    if not is_lease_free(judged, now, is_holder=is_holder):
        return judged, False
    often = judged.leased_often if judged.leased_for == presented else 0
    overlap = CONFIG.rotation_overlap
    mint_until = now + overlap * (1 if is_holder else 2 ** (often + 1))
    holder_until = now + (CONFIG.late_window if is_holder else overlap)
    return replace(
        judged,
        mint_until=max(judged.mint_until or now, mint_until),
        holder_until=max(judged.holder_until or now, holder_until),
        leased_to=client,
        leased_for=presented,
        leased_often=often + (not is_holder),
    ), True


def adopted(judged: Stored, presented: Token, now: datetime, client: str | None = None) -> Stored:
    """Return the row after a presented token became the current one."""
    since = (now - CONFIG.late_window).timestamp()
    last = (*judged.retired, Retired(judged.token_id, now.timestamp()))[-MAX_RETIRED:]
    return replace(
        judged,
        version=presented.version,
        token_id=presented.id,
        parent_id=presented.parent_id,
        promoted_at=now,
        settled_at=None,
        is_presented=True,
        holder=rotation.holder_of(judged),
        promoted_by=client if judged.leased_to == client else None,
        retired=tuple(each for each in last if each.at > since or presented.version == judged.version),
    )


def written(
    judged: Stored, presented: Token, verdict: Verdict, now: datetime, client: str | None = None
) -> tuple[Stored, bool]:
    """Return the row after what the verdict asks for, and whether the lease was taken."""
    if verdict.meaning in ADOPTED:
        return adopted(judged, presented, now, client), False
    if verdict.meaning is Meaning.OUTDATED:
        return replace(judged, secret_replaced_at=None), False
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
        secret_replaced_at=now,
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
        leased_often=0,
        retired=(),
    )
