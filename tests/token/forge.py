"""Hostile tokens, as a party with the signing key could forge them without aiosess, and good ones."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from hmac import digest
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aiosess._postgres.clock import Clock
from aiosess._token.codec import InvalidToken
from aiosess._token.keys import Keyring
from aiosess._token.reader import TokenReader
from aiosess._token.token import Token, new_token

SECRET = "the first secret of these tests 0123456789"
OTHER = b"another secret of these tests, in bytes \xff\x00"
AUDIENCE = "aiosess"
SESSION_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
KEYRING = Keyring(SECRET)

# All were computed once, from RFC 5869 with the label in "info"; sessions and forms of a running site depend on them.
KEY_ID = "Rx_5iVGC"
SIGNING_KEY = "7c47b9fe0928c20c2aea27b7a5f32391f3c3300675d35702894769001def6a38"
FORM_KEY = "0f2f6b3336bfb5b9626ffcd9f51bbcc93f95f957ce51c27e5a3c1d5d9ba3951d"
VERSION_KEY = "f6532def5c7b2c799753295f7cccd6f3d79e25aafb2356984f6bba23baf9f64f"


def derived(secret: bytes, label: str, length: int) -> bytes:
    """Derive a key as DESIGN 2 says, without aiosess."""
    return HKDF(SHA256(), length, salt=None, info=f"aiosess v1 {label}".encode()).derive(secret)


def b64(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good token, with some changed; a change to `...` leaves the claim out."""
    now = int(time.time())
    good = {
        "sid": str(SESSION_ID),
        "ver": 3,
        "jti": "AAAAAAAAAAA",
        "par": "BBBBBBBBBBA",
        "sec": "C" * 42 + "A",
        "iat": now,
        "exp": now + 3600,
        "aud": AUDIENCE,
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def header(**changes: Any) -> dict[str, Any]:
    """Return the header of a good token, with some fields changed; a change to `...` leaves the field out."""
    good = {"alg": "HS256", "kid": KEY_ID, "typ": "aiosess+jwt"}
    return {name: value for name, value in (good | changes).items() if value is not ...}


def text_of(value: object) -> bytes:
    """Return the content of a segment: bytes as they are, any other value as JSON in the spelling of good tokens."""
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def signed(head: object, body: object, key: bytes | None = None, hash_name: str = "sha256") -> str:
    """Sign any header and claims, with the real key if no other is given."""
    signing_input = f"{b64(text_of(head))}.{b64(text_of(body))}"
    key = derived(SECRET.encode(), "token signing", 32) if key is None else key
    return f"{signing_input}.{b64(digest(key, signing_input.encode(), hash_name))}"


def is_refused(text: str, keyring: Keyring = KEYRING) -> bool:
    """Say whether the keyring and a reader both refuse a text."""
    for read in (reader_of(keyring).read, lambda text: keyring.verify(text, AUDIENCE, time.time())):
        with pytest.raises(InvalidToken) as caught:
            read(text)
        assert str(caught.value) == ""
    return True


def reader_of(keyring: Keyring = KEYRING, size: int = 10) -> TokenReader:
    """Return a reader that knows what time it is."""
    clock = Clock()
    clock.learn(datetime.now(UTC))
    return TokenReader(keyring, AUDIENCE, size, clock)


def fresh() -> Token:
    """Return a good token of version 1."""
    return new_token(SESSION_ID, 1, datetime.now(UTC) + timedelta(days=90))


def decoded(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and claims of a token, unverified."""
    head, body, _ = (base64.urlsafe_b64decode(part + "==") for part in text.split("."))
    return json.loads(head), json.loads(body)
