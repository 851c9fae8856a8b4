"""
The cookie's text: a strict parser of our own, and the serialiser.

aiohttp's parser reads only the first Cookie header, lets white space split pairs, unquotes values, and keeps the last
of several values. With it ``Cookie: x=1 __Host-session=evil`` would plant a cookie in spite of the ``__Host-`` prefix.
Here only ``;`` ends a pair, and two different values are an error (RFC 6265bis, 4.2.1).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiosess.config import VERSION_SUFFIX, SessionConfig

HOST_PREFIX = "__Host-"
MAX_HEADERS: Final = 16 * 1024  # characters of all Cookie headers; servers usually take 8,000 of a request's whole head
MAX_COPIES: Final = 8  # a proxy may repeat a header, and a browser may have planted cookies; nobody sends this many

_BLANKS: Final = re.compile(r"[ \t]*")


class CookieConflict(Exception):
    """A request has different values for our cookie: somebody planted one, and their order does not tell which."""


class TooManyCookies(Exception):
    """A request has so many cookies that reading them would cost too much: whose they are is not looked at."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """Name and attributes of the session cookie; browsers ignore a deletion that does not repeat them."""

    name: str
    attributes: str
    _start: str = field(init=False)
    _find: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Build the text with which a lone cookie of ours begins, and the pattern of one among others."""
        name = re.escape(self.name)
        object.__setattr__(self, "_start", f"{self.name}=")
        # It begins with the plain name, for which the engine searches as fast as str.find(). What stands before the
        # name is looked at behind it; whether only blanks lead back to a ";", _values() finds out.
        object.__setattr__(self, "_find", re.compile(rf"{name}(?<![^; \t]{name})(?:=([^;]*)|[ \t]*+(?![^;]))"))

    @classmethod
    def from_config(cls, config: SessionConfig) -> "Cookie":
        """Return the cookie of a configuration (ASVS 5.0, 3.3.1 to 3.3.4)."""
        prefix, secure = ("", "") if config.insecure_cookies else (HOST_PREFIX, "; Secure")
        return cls(f"{prefix}{config.cookie_name}", f"{secure}; HttpOnly; SameSite={config.cookie_samesite}")

    def of_version(self) -> "Cookie":
        """Return the version cookie that goes with this cookie; see ``version_cookie``."""
        return Cookie(f"{self.name}{VERSION_SUFFIX}", self.attributes)

    def read_lone(self, headers: Sequence[str]) -> str | None:
        """Return our cookie's value if it is the only cookie of a request, as on many sites; otherwise None."""
        if len(headers) == 1:
            (header,) = headers
            if header.startswith(self._start) and ";" not in header:
                return header.removeprefix(self._start).rstrip(" \t")
        return None

    def read(self, headers: Sequence[str]) -> str | None:
        """
        Return our cookie's value from all Cookie headers of a request, or None.

        The time is linear in the headers, and small: no work is done for other cookies (DOS-05).

        Raises:
            CookieConflict: the headers hold two different values, or the cookie too often.
            TooManyCookies: the headers have more than 16 kB together.

        """
        if sum(map(len, headers)) > MAX_HEADERS:
            raise TooManyCookies
        found: str | None = None
        for value in self._values(";".join(headers)):
            if found is not None and found != value:
                raise CookieConflict
            found = value
        return found

    def _values(self, text: str) -> Iterator[str]:
        for number, match in enumerate(self._find.finditer(text)):
            if number == MAX_COPIES:
                raise CookieConflict
            begin = match.start()
            before = text[text.rfind(";", 0, begin) + 1 : begin]
            if before.count(" ") + before.count("\t") == len(before):
                yield _without_blanks_behind(match[1] or "")

    def write(self, value: str, max_age: int | None) -> str:
        """Return a Set-Cookie header's value; ``max_age`` in seconds, None for a cookie that ends with the browser."""
        age = "" if max_age is None else f"; Max-Age={max_age}"
        return f"{self.name}={value}; Path=/{age}{self.attributes}"

    def clear(self) -> str:
        """Return the Set-Cookie header's value that deletes the cookie."""
        return self.write("", 0)


def _without_blanks_behind(value: str) -> str:
    # strip(" \t") takes 70 us for 16 kB of blanks, more than twice what the rest of the request takes.
    return _BLANKS.sub("", value[::-1], count=1)[::-1]
