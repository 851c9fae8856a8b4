"""Bytes as text for cookies, headers and forms: base64url without padding (RFC 7515, appendix C)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode


def encode(content: bytes) -> str:
    """Spell bytes."""
    return urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes | None:
    """Return the bytes that a text spells; None, if it is not the one text that spells them."""
    try:
        content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:  # also a text that is not ASCII
        return None
    return content if encode(content) == text else None
