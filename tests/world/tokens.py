"""A session's row, the tokens of its browser and the instants around them, as judge() gets them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiosess._row import Retired
from aiosess._token.token import Token
from tests.world.statements import Stored

START = datetime(2026, 1, 1, tzinfo=UTC)
SECRET_HASH, OTHER_HASH = b"\x01" * 32, b"\x02" * 32
SESSION_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")

ROW = Stored(
    id=SESSION_ID,
    user_id="user",
    secret_hash=SECRET_HASH,
    version=5,
    token_id="current",
    parent_id="parent",
    promoted_at=START,
    settled_at=None,
    mint_until=None,
    holder=None,
    promoted_by=None,
    holder_until=None,
    retired=(),
    revision=0,
    ip=None,
    user_agent="",
    device_name="",
    device_type="unknown",
    fingerprint="",
    data="{}",
    authenticated_at=START,
    created_at=START,
    last_active_at=START,
    expires_at=START + timedelta(days=30),
    ends_at=START + timedelta(days=90),
    remember=True,
    is_presented=True,
    secret_replaced_at=None,
)

FIRST = replace(ROW, version=1, token_id="0", parent_id=None, settled_at=START)


def at(seconds: float) -> datetime:
    """Return an instant so many seconds after the current token was promoted."""
    return START + timedelta(seconds=seconds)


def row(**changes: Any) -> Stored:
    """Return a row whose token "current" of version 5, child of "parent", was promoted at the start."""
    return replace(ROW, **changes)


def retired(**ages: float) -> tuple[Retired, ...]:
    """Return retired tokens by their ids, each with the second at which it was retired."""
    return tuple(Retired(token_id, at(seconds).timestamp()) for token_id, seconds in ages.items())


def token(token_id: str, version: int = 5, parent_id: str | None = "parent", secret_hash: bytes = SECRET_HASH) -> Token:
    """Return a token as the codec would, of which judge() looks at the secret's hash, the version and the ids."""
    return Token(SESSION_ID, version, token_id, parent_id, "", secret_hash, 0, 2**31)
