"""Verify the tokens that browsers present, each one once per process."""

from hashlib import sha256
from time import monotonic
from typing import Protocol

from aiosess._bounded_map import BoundedMap
from aiosess._token.codec import LEEWAY, InvalidToken
from aiosess._token.keys import Keyring
from aiosess._token.token import Token
from aiosess._token.version_cookie import newest_token


class KnownToken:
    """
    A verified token.

    Attributes:
        token: The token.
        ends_at: The instant from which it is refused, in seconds since the epoch.
        note: Belongs to the reader's caller, which may keep there what it knows of the token; None at first.

    """

    __slots__ = ("ends_at", "note", "token")

    def __init__(self, token: Token) -> None:
        """Know nothing but the token."""
        self.token = token
        self.ends_at = token.expires_at + LEEWAY
        self.note: object = None


class DatabaseTime(Protocol):
    """
    The database's time, as far as it is known.

    Attributes:
        offset: What has to be added to the monotonic clock, in seconds; minus infinity: nothing is known yet.

    """

    offset: float


class TokenReader:
    """
    Verify tokens, and remember the good ones.

    PyJWT takes some 100 µs, so it runs once per token and process. The reader
    keeps verified tokens only, in a bounded map whose key is a digest of the
    text. It compares ``exp`` with the database's time at every reading; before
    the database has told it, no token has ended, and the check decides.
    """

    __slots__ = ("_audience", "_clock", "_get", "_keyring", "_verified")

    def __init__(self, keyring: Keyring, audience: str, size: int, clock: DatabaseTime) -> None:
        """Remember at most ``size`` tokens."""
        self._clock = clock
        self._keyring = keyring
        self._audience = audience
        self._verified: BoundedMap[bytes, KnownToken] = BoundedMap(size)
        self._get = self._verified.get  # without another look-up for each request

    def read(self, text: str) -> KnownToken:
        """
        Return the token that a cookie's value spells: the same object at each reading while the reader remembers it.

        Raises:
            InvalidToken: anything is wrong with it, or it has ended.

        """
        try:
            digest = sha256(text.encode("ascii")).digest()
        except UnicodeEncodeError:
            raise InvalidToken from None
        known = self._get(digest)
        if known is None:
            now = monotonic() + self._clock.offset
            known = KnownToken(self._keyring.verify(text, self._audience, now))
            self._verified.put(digest, known)
        if known.ends_at <= monotonic() + self._clock.offset:
            raise InvalidToken
        return known

    def read_newest(self, text: str, version: str) -> KnownToken:
        """
        Return the token that a cookie's value and a version cookie's value mean together, as ``read()`` does.

        Raises:
            InvalidToken: anything is wrong with the token, or it has ended; a bad version cookie changes nothing.

        """
        known = self.read(text)
        token = newest_token(known.token, version, self._keyring.version_keys)
        if token is known.token:
            return known
        digest = sha256(f"{text};{version}".encode("ascii")).digest()
        newest = self._get(digest)
        if newest is None:
            newest = KnownToken(token)
            self._verified.put(digest, newest)
        return newest
