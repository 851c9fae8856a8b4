"""The keys that sign and verify tokens, derived from the application's secrets."""

import re
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aiosess._token.codec import decode, encode, header_of
from aiosess._token.token import Token
from aiosess.errors import ConfigError

MIN_SECRET_BYTES: Final = 32  # RFC 7518, 3.2: no shorter than the hash

# A secret of 32 random hex digits, the weakest that is fit, has fewer different ones once in 5,000,000,000 times.
MIN_DIFFERENT_BYTES: Final = 7

_PLACEHOLDER = re.compile(
    rb"change[-_ ]?(?:me|it|this)|replace[-_ ]?(?:me|this)|your[-_ ]?secret|placeholder", re.IGNORECASE
)
_SSH_PREFIXES = (b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")


@dataclass(frozen=True, slots=True)
class _Key:
    """The keys that one secret of the application gives, one for each purpose (NIST SP 800-108)."""

    header: str = field(repr=False)
    signing: bytes = field(repr=False)
    form: bytes = field(repr=False)
    version: bytes = field(repr=False)


class Keyring:
    """
    The keys: the first one signs, all verify. A token's ``kid`` picks the one that verifies it.

    Args:
        secret: One secret or several, the one that signs first; each at least 32 bytes of
            text or bytes, from ``secrets.token_urlsafe(32)`` or the like.

    Attributes:
        form_keys: The keys of form tokens; the first one makes them, all verify.
        version_keys: The keys of version cookies; the same holds for them.

    Raises:
        ConfigError: a secret is too short, looks like a PEM or JWK (RFC 8725, 3.5), or cannot be random: it has fewer
            than 7 different bytes, repeats a pattern, counts up or down, or says "changeme". A text that begins or ends
            with white space is refused too: with a file's line feed it is another key than without.

    """

    def __init__(self, secret: str | bytes | Sequence[str | bytes]) -> None:
        """Derive the keys."""
        several: Sequence[str | bytes] = [secret] if isinstance(secret, (str, bytes)) else secret
        if not isinstance(several, Sequence) or not several:
            message = "secret: must be text, bytes, or a list of them; the first one signs"
            raise ConfigError(message)
        keys = [_derive(_checked(each)) for each in several]
        self._first = keys[0]
        self._signing = {key.header: key.signing for key in keys}
        self.form_keys = tuple(key.form for key in keys)
        self.version_keys = tuple(key.version for key in keys)
        if len(self._signing) != len(keys):
            message = "secret: the same secret is listed twice"
            raise ConfigError(message)

    def __repr__(self) -> str:
        """Show how many keys there are and nothing of them."""
        return f"<Keyring of {len(self._signing)}>"

    def sign(self, token: Token, audience: str) -> str:
        """Return the text of a token, signed with the first key."""
        return encode(token, audience, self._first.header, self._first.signing)

    def verify(self, text: str, audience: str, now: float = -inf) -> Token:
        """
        Return the token that a cookie's value spells; ``now`` is the database's time, if it is known.

        Raises:
            InvalidToken: anything is wrong with it.

        """
        return decode(text, audience, self._signing, now)


def _checked(secret: object) -> bytes:
    if not isinstance(secret, (str, bytes)):
        message = f"secret: must be text or bytes, not {type(secret).__name__}"
        raise ConfigError(message)
    try:
        raw = secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret
    except UnicodeEncodeError:  # the error's text would show the secret
        message = "secret: must be text that encodes in UTF-8"
        raise ConfigError(message) from None
    if len(raw) < MIN_SECRET_BYTES:
        message = f"secret: must be at least {MIN_SECRET_BYTES} bytes; make one with secrets.token_urlsafe(32)"
        raise ConfigError(message)
    if b"-----BEGIN" in raw or b'"kty"' in raw or raw.lstrip().startswith(_SSH_PREFIXES):
        message = "secret: looks like a PEM, SSH or JWK key; use random text from secrets.token_urlsafe(32)"
        raise ConfigError(message)
    if len(set(raw)) < MIN_DIFFERENT_BYTES or _is_regular(raw) or _PLACEHOLDER.search(raw):
        message = "secret: can be guessed; use random text from secrets.token_urlsafe(32)"
        raise ConfigError(message)
    if raw.isascii() and raw != raw.strip():
        message = "secret: begins or ends with white space, which is part of the key; strip() what comes from a file"
        raise ConfigError(message)
    return raw


def _is_regular(raw: bytes) -> bool:
    """Say whether a third or more repeats what stood before, or three quarters follow one another in equal steps."""
    if any(raw.startswith(raw[size:]) for size in range(1, len(raw) * 2 // 3 + 1)):
        return True
    steps = Counter(after - before for before, after in pairwise(raw))
    return max(steps.values()) > len(raw) * 3 // 4


def _derive(secret: bytes) -> _Key:
    def purpose(label: str, length: int) -> bytes:
        return HKDF(SHA256(), length, salt=None, info=f"aiosess v1 {label}".encode()).derive(secret)

    return _Key(
        header=header_of(urlsafe_b64encode(purpose("key id", 6)).decode("ascii")),
        signing=purpose("token signing", 32),
        form=purpose("form token", 32),
        version=purpose("version cookie", 32),
    )
