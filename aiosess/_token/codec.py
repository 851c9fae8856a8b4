"""
A token's text and back, strictly.

The text is a compact JWS (RFC 7515) signed with HS256. Algorithm, header and claims are pinned as RFC 8725, 3.1 to
3.12 ask. Each token has one spelling, so that a cache by text cannot be filled with spellings of one token.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import jwt

from aiosess._token.token import LARGEST_INSTANT, LARGEST_VERSION, Token, hash_secret

ALGORITHM: Final = "HS256"
TYPE: Final = "aiosess+jwt"
LEEWAY: Final = 60  # seconds the clocks of a fleet may differ (ASVS 5.0, 9.2.1)
MAX_TOKEN_BYTES: Final = 1024

_SHAPE = re.compile(r"[A-Za-z0-9_-]{16,256}\.[A-Za-z0-9_-]{16,768}\.[A-Za-z0-9_-]{43}", re.ASCII)
_HEADER = frozenset({"alg", "kid", "typ"})
_CLAIMS = frozenset({"sid", "ver", "jti", "par", "sec", "iat", "exp", "aud"})
_TOKEN_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)  # 8 bytes, base64url
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # 32 bytes, base64url


class InvalidToken(Exception):
    """The text is no valid token of ours. The error never says why, so that nothing can leak."""


def encode(token: Token, audience: str, key_id: str, key: bytes) -> str:
    """Return the compact JWS of a token."""
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
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id, "typ": TYPE})


def decode(text: str, audience: str, keys: Mapping[str, bytes]) -> Token:
    """
    Return the token that a text spells, if the key that it names has signed it.

    Raises:
        InvalidToken: anything is wrong with it.

    """
    key_id, claims = _gate(text)
    key = keys.get(key_id)
    if key is None:
        raise InvalidToken
    try:
        jwt.decode(
            text,
            key,
            algorithms=[ALGORITHM],
            audience=audience,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "aud"], "strict_aud": True},
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
        # PyJWT raises a plain ValueError or the like for some malformed claims.
        raise InvalidToken from error
    return _token(claims)


def _gate(text: str) -> tuple[str, dict[str, Any]]:
    """Check the shape before any parser runs, then read key id and claims strictly; nothing is verified yet."""
    if len(text) > MAX_TOKEN_BYTES or not _SHAPE.fullmatch(text):
        raise InvalidToken
    header, payload, signature = text.split(".")
    _canonical(signature)
    return _key_id(_strict_object(_canonical(header))), _strict_object(_canonical(payload))


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


def _key_id(header: dict[str, Any]) -> str:
    if header.keys() != _HEADER or header["alg"] != ALGORITHM or header["typ"] != TYPE:
        raise InvalidToken
    key_id = header["kid"]
    if type(key_id) is not str:
        raise InvalidToken
    return key_id


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
