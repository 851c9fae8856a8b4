"""The keys that sign and verify tokens, derived from the application's secrets."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aiosess._token.codec import decode, encode
from aiosess._token.token import Token
from aiosess.errors import ConfigError

MIN_SECRET_BYTES: Final = 32  # RFC 7518, 3.2: no shorter than the hash

_SSH_PREFIXES = (b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")


@dataclass(frozen=True, slots=True)
class _Key:
    """The keys that one secret of the application gives, one for each purpose (NIST SP 800-108)."""

    id: str
    signing: bytes = field(repr=False)
    form: bytes = field(repr=False)
    version: bytes = field(repr=False)


class Keyring:
    """
    The keys, newest first: the newest one signs, and a token's ``kid`` picks the one that verifies it.

    Args:
        secret: One secret or several, newest first; each at least 32 bytes of
            text or bytes, from ``secrets.token_urlsafe(32)`` or the like.

    Attributes:
        form_keys: The keys of form tokens, newest first.
        version_keys: The keys of version cookies, newest first.

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
        self._signing = {key.id: key.signing for key in keys}
        self.form_keys = tuple(key.form for key in keys)
        self.version_keys = tuple(key.version for key in keys)
        if len(self._signing) != len(keys):
            message = "secret: the same secret is listed twice"
            raise ConfigError(message)

    def __repr__(self) -> str:
        """Show how many keys there are and nothing of them."""
        return f"<Keyring of {len(self._signing)}>"

    def sign(self, token: Token, audience: str) -> str:
        """Return the text of a token, signed with the newest key."""
        return encode(token, audience, self._newest.id, self._newest.signing)

    def verify(self, text: str, audience: str) -> Token:
        """
        Return the token that a cookie's value spells.

        Raises:
            InvalidToken: anything is wrong with it.

        """
        return decode(text, audience, self._signing)


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
    return raw


def _derive(secret: bytes) -> _Key:
    def purpose(label: str, length: int) -> bytes:
        return HKDF(SHA256(), length, salt=None, info=f"aiosess v1 {label}".encode()).derive(secret)

    return _Key(
        id=urlsafe_b64encode(purpose("key id", 6)).decode("ascii"),
        signing=purpose("token signing", 32),
        form=purpose("form token", 32),
        version=purpose("version cookie", 32),
    )
