"""What a client reads: HTML or JSON, and in which language (RFC 9110, 12.5)."""

import re
from collections.abc import Collection, Iterator

_MAX_RANGES = 32  # a browser sends ten at most
_RANGE = re.compile(r"\s*([^\s;,]+)\s*(?:;[^,]*?q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?(?:;[^,]*)?")
_JSON = ("application/json", "application/problem+json")
_HTML = ("text/html", "application/xhtml+xml")


def wants_json(accept: str) -> bool:
    """Say whether a client asks for JSON rather than HTML; who takes anything gets HTML."""
    wishes = dict(_ranges(accept))
    return max(wishes.get(kind, 0) for kind in _JSON) > max(wishes.get(kind, 0) for kind in _HTML)


def best_language(accept_language: str, known: Collection[str]) -> str:
    """Return the known language that is liked best; the first when none is."""
    best, best_liking = next(iter(known)), 0.0
    for wish, liking in _ranges(accept_language):
        language = wish if wish in known else wish.partition("-")[0]
        if liking > best_liking and language in known:
            best, best_liking = language, liking
    return best


def _ranges(header: str) -> Iterator[tuple[str, float]]:
    for part in header.lower().split(",", _MAX_RANGES)[:_MAX_RANGES]:
        match = _RANGE.fullmatch(part)
        if match is not None:
            yield match[1], 1.0 if match[2] is None else float(match[2])
