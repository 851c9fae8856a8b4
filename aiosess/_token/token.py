"""
The token: which of a session's tokens it is, and the session's secret.

The cookie carries it as text (``codec``), signed with one of the application's keys (``keys``). A copy of the database
makes no token, because it holds neither a signing key nor a secret, only the secret's hash. The signing key alone makes
none either, because it gives no secret.
"""

import secrets
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

LARGEST_VERSION: Final = 2**31 - 1  # an int column
LARGEST_INSTANT: Final = 2**37  # seconds since the epoch, in the year 6325; datetime ends in 9999


@dataclass(frozen=True, slots=True)
class Token:
    """
    One verified or freshly made token of a session.

    ``secret`` belongs to the session; ``version``, ``id`` and ``parent_id`` say
    which of the session's tokens this is and which one it succeeds.
    ``issued_at`` and ``expires_at`` are seconds since the epoch.
    """

    session_id: UUID = field(repr=False)
    version: int
    id: str = field(repr=False)
    parent_id: str | None = field(repr=False)
    secret: str = field(repr=False)
    secret_hash: bytes = field(repr=False)
    issued_at: int
    expires_at: int

    def successor(self) -> "Token":
        """Return a new token of the same session that succeeds this one."""
        return Token(
            session_id=self.session_id,
            version=self.version + 1,
            id=new_token_id(),
            parent_id=self.id,
            secret=self.secret,
            secret_hash=self.secret_hash,
            issued_at=_issued_now(),
            expires_at=self.expires_at,
        )


def new_token(session_id: UUID, version: int, expires_at: datetime) -> Token:
    """Return a token with a fresh secret: a session's first one, or the one that an explicit rotation sets."""
    secret = secrets.token_urlsafe(32)
    return Token(
        session_id=session_id,
        version=version,
        id=new_token_id(),
        parent_id=None,
        secret=secret,
        secret_hash=hash_secret(secret),
        issued_at=_issued_now(),
        expires_at=int(expires_at.timestamp()),
    )


def _issued_now() -> int:
    """Return this machine's time: it tells people who read a token, and is judged nowhere."""
    return int(time.time())


def longest_token() -> Token:
    """Return a token of the greatest length; ``setup()`` checks the cookie's size with it."""
    token = new_token(UUID(int=0), LARGEST_VERSION, datetime.fromtimestamp(LARGEST_INSTANT, UTC))
    return replace(token, parent_id=token.id)


def new_token_id() -> str:
    """Return 8 random bytes in base64url: unique within a session, not a secret."""
    return secrets.token_urlsafe(8)


def hash_secret(secret: str) -> bytes:
    """Return the SHA-256 of a secret's text: the only form of it that the database sees."""
    return sha256(secret.encode("ascii")).digest()
