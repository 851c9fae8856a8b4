"""The session cookie's value as the application reads and writes it, with its key."""

from uuid import UUID

from aiosess._token.keys import Keyring
from aiosess._token.token import Token
from tests.world.app import SECRET

KEYS = Keyring(SECRET)


def read(value: str) -> Token:
    """Return the token that a cookie's value spells."""
    return KEYS.verify(value, "aiosess")


def sign(token: Token) -> str:
    """Return the cookie's value of a token."""
    return KEYS.sign(token, "aiosess")


def session_id(value: str | None) -> UUID:
    """Return the session that a cookie's value belongs to."""
    assert value is not None
    return read(value).session_id
