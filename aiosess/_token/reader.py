"""Verifies the tokens that browsers present, each one once per process."""

import time
from collections.abc import Callable
from hashlib import sha256

from aiosess._bounded_map import Memory
from aiosess._row import Row
from aiosess._token.codec import LEEWAY, InvalidToken
from aiosess._token.keys import Keyring
from aiosess._token.token import Token


def _no_row() -> None:
    return None


class KnownToken:
    """
    A token that was verified, and how it was judged last: it comes back many times before that changes.

    Attributes:
        token: The token.
        ends_at: From when on it is refused, in seconds since the epoch.
        row: Returns the row of which it was the current token, with nothing to be done, while that is held.
        user_agent: The User-Agent that was compared with the session's then.
        until: How long nothing is to be done if the row stays as it is, by the monotonic clock.

    """

    __slots__ = ("ends_at", "row", "token", "until", "user_agent")

    row: Callable[[], Row | None]

    def __init__(self, token: Token) -> None:
        """Know nothing but the token."""
        self.token = token
        self.ends_at = token.expires_at + LEEWAY
        self.row = _no_row
        self.user_agent = ""
        self.until = 0.0


class TokenReader:
    """
    Verifies tokens, and remembers those that were good.

    PyJWT takes some 100 µs, so it runs once per token and process. The memory
    is keyed by a digest of the bytes, bounded, and holds verified tokens only;
    ``exp`` is looked at every time.
    """

    __slots__ = ("_audience", "_keyring", "_verified")

    def __init__(self, keyring: Keyring, audience: str, size: int) -> None:
        """Remember at most ``size`` tokens."""
        self._keyring = keyring
        self._audience = audience
        self._verified: Memory[bytes, KnownToken] = Memory(size)

    def read(self, text: str) -> KnownToken:
        """
        Return the token that a cookie's value spells, the same object each time while it is remembered.

        Raises:
            InvalidToken: whatever is wrong with it.

        """
        try:
            digest = sha256(text.encode("ascii")).digest()
        except UnicodeEncodeError:
            raise InvalidToken from None
        known = self._verified.get(digest)
        if known is None:
            known = KnownToken(self._keyring.verify(text, self._audience))
            self._verified.put(digest, known)
        if known.ends_at <= time.time():
            raise InvalidToken
        return known
