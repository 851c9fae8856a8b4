"""
The token: an opaque secret bound in a JWT, and the keys that sign it.

The cookie carries a compact JWS (RFC 7515) signed with HS256. A copy of the database makes no token (no signing key,
no preimage of the secret), and the signing key alone makes none either (no secret). Algorithm, header and claims are
pinned as RFC 8725, 3.1 to 3.12 ask.
"""

import json
import re
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aiosess._bounded_map import Memory
from aiosess._row import Row
from aiosess.errors import ConfigError

ALGORITHM: Final = "HS256"
TYPE: Final = "aiosess+jwt"
LEEWAY: Final = 60  # seconds the clocks of a fleet may differ (ASVS 5.0, 9.2.1)
MAX_TOKEN_BYTES: Final = 1024
MIN_SECRET_BYTES: Final = 32  # RFC 7518, 3.2: no shorter than the hash

_SHAPE = re.compile(r"[A-Za-z0-9_-]{16,256}\.[A-Za-z0-9_-]{16,768}\.[A-Za-z0-9_-]{43}", re.ASCII)
_SSH_PREFIXES = (b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")
_HEADER = frozenset({"alg", "kid", "typ"})
_CLAIMS = frozenset({"sid", "ver", "jti", "par", "sec", "iat", "exp", "aud"})
_TOKEN_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)  # 8 bytes, base64url
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # 32 bytes, base64url
_LARGEST_VERSION = 2**31 - 1  # an int column
_LARGEST_INSTANT = 2**37  # seconds since the epoch, in the year 6325; datetime ends in 9999


class InvalidToken(Exception):
    """Not a token of ours; who sent it is anonymous. Says nothing about why, so that nothing can leak."""


@dataclass(frozen=True, slots=True)
class Token:
    """
    One verified or freshly made token of a session.

    ``secret`` belongs to the session; ``version``, ``id`` and ``parent_id`` say
    which of the session's tokens this is and which one it succeeds.
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
            issued_at=int(time.time()),
            expires_at=self.expires_at,
        )


def new_token(session_id: UUID, version: int, expires_at: datetime) -> Token:
    """Return a token with a fresh secret: the first of a session, or of one whose token was rotated on purpose."""
    secret = secrets.token_urlsafe(32)
    return Token(
        session_id=session_id,
        version=version,
        id=new_token_id(),
        parent_id=None,
        secret=secret,
        secret_hash=hash_secret(secret),
        issued_at=int(time.time()),
        expires_at=int(expires_at.timestamp()),
    )


def longest_token() -> Token:
    """Return a token as long as one can get: what the cookie's size is checked with at start-up."""
    token = new_token(UUID(int=0), _LARGEST_VERSION, datetime.fromtimestamp(_LARGEST_INSTANT, UTC))
    return replace(token, parent_id=token.id)


def new_token_id() -> str:
    """Return 8 random bytes in base64url: unique within a session, not a secret."""
    return secrets.token_urlsafe(8)


def hash_secret(secret: str) -> bytes:
    """Return the SHA-256 of a secret's text: the only form of it that the database sees."""
    return sha256(secret.encode("ascii")).digest()


@dataclass(frozen=True, slots=True)
class _Key:
    """What one secret of the application gives: each purpose has a key of its own (NIST SP 800-108)."""

    id: str
    signing: bytes = field(repr=False)
    form: bytes = field(repr=False)


class Keyring:
    """
    The keys, newest first: the newest signs, all verify, ``kid`` picks.

    Args:
        secret: One secret or several, newest first; each at least 32 bytes of
            text or bytes, from ``secrets.token_urlsafe(32)`` or alike.

    Raises:
        ConfigError: a secret is too short, or looks like a PEM or JWK (RFC 8725, 3.5).

    """

    def __init__(self, secret: str | bytes | Sequence[str | bytes]) -> None:
        """Derive the keys."""
        several: Sequence[str | bytes] = [secret] if isinstance(secret, (str, bytes)) else secret
        if not isinstance(several, Sequence) or not several:
            message = "secret: must be text, bytes, or a list of them, newest first"
            raise ConfigError(message)
        keys = [_derive(_checked(each)) for each in several]
        self._newest = keys[0]
        self._by_id = {key.id: key for key in keys}
        if len(self._by_id) != len(keys):
            message = "secret: the same secret is listed twice"
            raise ConfigError(message)

    def __repr__(self) -> str:
        """Show how many keys there are and nothing of them."""
        return f"<Keyring of {len(self._by_id)}>"

    @property
    def form_keys(self) -> list[bytes]:
        """The keys of form tokens, newest first."""
        return [key.form for key in self._by_id.values()]

    def sign(self, token: Token, audience: str) -> str:
        """Return the compact JWS of a token, signed with the newest key."""
        claims = {
            "sid": str(token.session_id),
            "ver": token.version,
            "jti": token.id,
            "par": token.parent_id,
            "sec": token.secret,
            "iat": token.issued_at,
            "exp": token.expires_at,
            "aud": audience,
        }
        headers = {"kid": self._newest.id, "typ": TYPE}
        return jwt.encode(claims, self._newest.signing, algorithm=ALGORITHM, headers=headers)

    def verify(self, text: str, audience: str) -> Token:
        """
        Return the token that a cookie's value spells.

        Raises:
            InvalidToken: whatever is wrong with it.

        """
        header, payload = _gate(text)
        key = self._by_id.get(header["kid"])
        if key is None:
            raise InvalidToken
        try:
            jwt.decode(
                text,
                key.signing,
                algorithms=[ALGORITHM],
                audience=audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "aud"], "strict_aud": True},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            # PyJWT lets some malformed claims escape as plain ValueError and the like.
            raise InvalidToken from error
        return _token(payload)


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


def _checked(secret: object) -> bytes:
    if not isinstance(secret, (str, bytes)):
        message = f"secret: must be text or bytes, not {type(secret).__name__}"
        raise ConfigError(message)
    try:
        raw = secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret
    except UnicodeEncodeError:  # its text would show the secret
        message = "secret: must be text that encodes in UTF-8"
        raise ConfigError(message) from None
    if len(raw) < MIN_SECRET_BYTES:
        message = f"secret: must be at least {MIN_SECRET_BYTES} bytes; make one with secrets.token_urlsafe(32)"
        raise ConfigError(message)
    if b"-----BEGIN" in raw or b'"kty"' in raw or raw.lstrip().startswith(_SSH_PREFIXES):
        message = "secret: looks like a PEM, SSH or JWK key; use random text from secrets.token_urlsafe(32)"
        raise ConfigError(message)
    return raw


def _derive(secret: bytes) -> _Key:
    def purpose(label: str, length: int) -> bytes:
        return HKDF(SHA256(), length, salt=None, info=f"aiosess v1 {label}".encode()).derive(secret)

    return _Key(
        id=urlsafe_b64encode(purpose("key id", 6)).decode("ascii"),
        signing=purpose("token signing", 32),
        form=purpose("form token", 32),
    )


def _gate(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Look at the shape before any parser does, then read header and claims strictly, signature still unknown."""
    if len(text) > MAX_TOKEN_BYTES or not _SHAPE.fullmatch(text):
        raise InvalidToken
    header, payload, signature = text.split(".")
    _canonical(signature)
    return _header(_strict_object(_canonical(header))), _strict_object(_canonical(payload))


def _canonical(segment: str) -> bytes:
    """Decode base64url that has one spelling only: the unused bits of the last character must be zero."""
    try:
        raw = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError as error:
        raise InvalidToken from error
    if urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != segment:
        raise InvalidToken
    return raw


def _strict_object(raw: bytes) -> dict[str, Any]:
    """Read a flat JSON object whose keys are all different (RFC 8725, 2.4 and 3.1)."""
    try:
        value = json.loads(raw, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise InvalidToken from error
    if not isinstance(value, dict):
        raise InvalidToken
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidToken
    return value


def _header(header: dict[str, Any]) -> dict[str, Any]:
    if header.keys() != _HEADER or header["alg"] != ALGORITHM or header["typ"] != TYPE:
        raise InvalidToken
    if type(header["kid"]) is not str:
        raise InvalidToken
    return header


def _token(claims: dict[str, Any]) -> Token:
    """Take the claims apart; PyJWT lets "1", 1.0 and True pass as ints, we do not."""
    if claims.keys() != _CLAIMS:
        raise InvalidToken
    secret = _text(claims["sec"], _SECRET)
    return Token(
        session_id=_uuid(claims["sid"]),
        version=_int(claims["ver"], _LARGEST_VERSION),
        id=_text(claims["jti"], _TOKEN_ID),
        parent_id=None if claims["par"] is None else _text(claims["par"], _TOKEN_ID),
        secret=secret,
        secret_hash=hash_secret(secret),
        issued_at=_int(claims["iat"], _LARGEST_INSTANT),
        expires_at=_int(claims["exp"], _LARGEST_INSTANT),
    )


def _int(value: object, largest: int) -> int:
    if type(value) is not int or not 0 < value <= largest:
        raise InvalidToken
    return value


def _text(value: object, pattern: re.Pattern[str]) -> str:
    if type(value) is not str or not pattern.fullmatch(value):
        raise InvalidToken
    return value


def _uuid(value: object) -> UUID:
    try:
        parsed = UUID(value) if type(value) is str else None
    except ValueError as error:
        raise InvalidToken from error
    # UUID() also reads braces, "urn:uuid:" and missing hyphens; we write one spelling and read one.
    if parsed is None or str(parsed) != value:
        raise InvalidToken
    return parsed
