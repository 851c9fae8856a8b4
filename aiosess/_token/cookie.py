"""
The cookie's text: a strict parser of our own, and the serialiser.

aiohttp's parser reads only the first Cookie header, lets white space split pairs, unquotes values, and keeps the last
of several values. With it ``Cookie: x=1 __Host-session=evil`` would plant a cookie in spite of the ``__Host-`` prefix.
Here only ``;`` ends a pair, and two different values are an error (RFC 6265bis, 4.2.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiosess.config import VERSION_SUFFIX, SessionConfig

HOST_PREFIX = "__Host-"


class CookieConflict(Exception):
    """A request has different values for our cookie: somebody planted one, and their order does not tell which."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """Name and attributes of the session cookie; browsers ignore a deletion that does not repeat them."""

    name: str
    attributes: str
    _start: str = field(init=False)

    def __post_init__(self) -> None:
        """Build the text with which a lone cookie of ours begins, once for all requests."""
        object.__setattr__(self, "_start", f"{self.name}=")

    @classmethod
    def from_config(cls, config: SessionConfig) -> "Cookie":
        """Return the cookie of a configuration (ASVS 5.0, 3.3.1 to 3.3.4)."""
        prefix, secure = ("", "") if config.insecure_cookies else (HOST_PREFIX, "; Secure")
        return cls(f"{prefix}{config.cookie_name}", f"{secure}; HttpOnly; SameSite={config.cookie_samesite}")

    def of_version(self) -> "Cookie":
        """Return the version cookie that goes with this cookie; see ``version_cookie``."""
        return Cookie(f"{self.name}{VERSION_SUFFIX}", self.attributes)

    def read(self, headers: Sequence[str]) -> str | None:
        """
        Return our cookie's value from all Cookie headers of a request, or None.

        Raises:
            CookieConflict: the headers hold two different values.

        """
        if len(headers) == 1:
            (header,) = headers
            if header.startswith(self._start) and ";" not in header:
                return header.removeprefix(self._start).rstrip(" \t")  # on many sites ours is the only cookie
        found: str | None = None
        for header in headers:
            if self.name not in header:
                continue
            for pair in header.split(";"):
                name, _, value = pair.strip(" \t").partition("=")
                if name != self.name:
                    continue
                if found is not None and found != value:
                    raise CookieConflict
                found = value
        return found

    def write(self, value: str, max_age: int | None) -> str:
        """Return a Set-Cookie header's value; ``max_age`` in seconds, None for a cookie that ends with the browser."""
        age = "" if max_age is None else f"; Max-Age={max_age}"
        return f"{self.name}={value}; Path=/{age}{self.attributes}"

    def clear(self) -> str:
        """Return the Set-Cookie header's value that deletes the cookie."""
        return self.write("", 0)
