"""Content negotiation: HTML or JSON, and the language (RFC 9110, 12.5)."""

import re
from collections.abc import Collection, Iterator

_MAX_RANGES = 32  # browsers send ten at most
_RANGE = re.compile(r"\s*([^\s;,]+)\s*(?:;[^,]*?q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?(?:;[^,]*)?")
_JSON = ("application/json", "application/problem+json")
_HTML = ("text/html", "application/xhtml+xml")


def wants_json(accept: str) -> bool:
    """Say whether a client prefers JSON to HTML; a client that accepts everything gets HTML."""
    qualities = dict(_ranges(accept))
    return max(qualities.get(kind, 0) for kind in _JSON) > max(qualities.get(kind, 0) for kind in _HTML)


def best_language(accept_language: str, known: Collection[str]) -> str:
    """Return the known language that the client prefers; the first known one if it accepts none."""
    best, best_quality = next(iter(known)), 0.0
    for accepted, quality in _ranges(accept_language):
        language = accepted if accepted in known else accepted.partition("-")[0]
        if quality > best_quality and language in known:
            best, best_quality = language, quality
    return best


def _ranges(header: str) -> Iterator[tuple[str, float]]:
    """Give each readable range of a header with its quality (``q=``)."""
    for part in header.lower().split(",", _MAX_RANGES)[:_MAX_RANGES]:
        match = _RANGE.fullmatch(part)
        if match is not None:
            yield match[1], 1.0 if match[2] is None else float(match[2])
