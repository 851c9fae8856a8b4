"""
A token's text and back, strictly.

The text is a compact JWS (RFC 7515) signed with HS256. Algorithm, header and claims are pinned as RFC 8725, 3.1 to
3.12 ask. Each token has one spelling, the one that ``encode()`` writes: header and claims in this order, JSON without
white space or escapes, base64url without padding. A cache by text cannot be filled with spellings of one token.

The signature comes first: no parser sees a text that none of our keys has signed.
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from hmac import compare_digest, digest
from typing import Any, Final
from uuid import UUID

import jwt

from aiosess._token import base64url
from aiosess._token.token import LARGEST_INSTANT, LARGEST_VERSION, Token, hash_secret

ALGORITHM: Final = "HS256"
TYPE: Final = "aiosess+jwt"
# Seconds by which the clock that we know of may be wrong: it is the database's, and after a failover another server's.
# The row decides in any case, for a session lives no longer than its tokens (ASVS 5.0, 9.2.1).
LEEWAY: Final = 60
MAX_TOKEN_BYTES: Final = 1024

_CLAIMS = frozenset({"sid", "ver", "jti", "par", "sec", "iat", "exp", "aud"})
_TOKEN_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)  # 8 bytes, base64url
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # 32 bytes, base64url


class InvalidToken(Exception):
    """The text is no valid token of ours. The error never says why, so that nothing can leak."""


def header_of(key_id: str) -> str:
    """Return the first segment of every token that the key with this id signs."""
    return _segment({"alg": ALGORITHM, "kid": key_id, "typ": TYPE})


def encode(token: Token, audience: str, header: str, key: bytes) -> str:
    """Return the compact JWS of a token; ``header`` is the key's."""
    signed = _signed_part(token, audience, header)
    return f"{signed}.{_signature(signed, key)}"


def decode(text: str, audience: str, keys: Mapping[str, bytes], now: float) -> Token:
    """
    Return the token that a text spells, if the key that it names has signed it; the keys go by their header.

    ``now`` is the database's time in seconds since the epoch, which ``exp`` is
    compared with. ``iat`` is the clock of the process that made the token, and
    is not judged: a host whose clock is wrong would sign people out.

    PyJWT judges a token last. What it would refuse is refused before at a tenth
    of the time: a forged text costs a look-up and an HMAC, and one that was
    meant for another application, or has ended, a few microseconds more.

    Raises:
        InvalidToken: anything is wrong with it.

    """
    if len(text) > MAX_TOKEN_BYTES or not text.isascii():
        raise InvalidToken
    header = text.partition(".")[0]
    signed, _, signature = text.rpartition(".")
    key = keys.get(header)
    if key is None or not compare_digest(_signature(signed, key), signature):
        raise InvalidToken
    token = _token(_claims(signed[len(header) + 1 :]))
    if signed != _signed_part(token, audience, header):
        raise InvalidToken  # another audience, or another spelling
    if token.expires_at + LEEWAY <= now:
        raise InvalidToken
    try:
        jwt.decode(
            text,
            key,
            algorithms=[ALGORITHM],
            audience=audience,
            # They would be compared with this machine's clock.
            options={"require": ["exp", "iat", "aud"], "strict_aud": True, "verify_exp": False, "verify_iat": False},
        )
    except jwt.PyJWTError as error:
        raise InvalidToken from error
    return token


def _claims(segment: str) -> dict[str, Any]:
    """Read the claims loosely: they are spelled again, and compared."""
    try:
        claims = json.loads(urlsafe_b64decode(f"{segment}=="))
    except (ValueError, RecursionError) as error:
        raise InvalidToken from error
    if not isinstance(claims, dict):
        raise InvalidToken
    return claims


def _signed_part(token: Token, audience: str, header: str) -> str:
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
    return f"{header}.{_segment(claims)}"


def _segment(value: Mapping[str, object]) -> str:
    return base64url.encode(json.dumps(value, separators=(",", ":")).encode("ascii"))


def _signature(signed: str, key: bytes) -> str:
    return base64url.encode(digest(key, signed.encode("ascii"), "sha256"))


def _token(claims: dict[str, Any]) -> Token:
    """Take the claims apart; an int must be one, though PyJWT takes "1", 1.0 and True too."""
    if claims.keys() != _CLAIMS:
        raise InvalidToken
    secret = _text(claims["sec"], _SECRET)
    return Token(
        session_id=_uuid(claims["sid"]),
        version=_int(claims["ver"], LARGEST_VERSION),
        id=_text(claims["jti"], _TOKEN_ID),
        parent_id=None if claims["par"] is None else _text(claims["par"], _TOKEN_ID),
        secret=secret,
        secret_hash=hash_secret(secret),
        issued_at=_int(claims["iat"], LARGEST_INSTANT),
        expires_at=_int(claims["exp"], LARGEST_INSTANT),
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
