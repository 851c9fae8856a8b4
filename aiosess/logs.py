"""
A filter that keeps session tokens out of an application's logs.

aiosess itself logs no token. Others do: aiohttp repeats a malformed request line or header in its error, with the
cookie in it, and applications log headers, requests and exceptions.
"""

import logging
import re
from typing import Any, Final

__all__ = ("RedactTokens",)

REPLACEMENT: Final = "[token]"

# Text in which a token may stand, with what log messages do to it: escapes of repr(), percent encoding, control
# characters. One class of characters, so that the search takes linear time.
_RUN: Final = re.compile(r"[A-Za-z0-9_.%\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f-]{16,}")
_ESCAPE: Final = re.compile(r"\\+(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|[abfnrtv0])?|%([0-9A-Fa-f]{2})|[\x00-\x1f\x7f]")
_ESCAPED_TWICE: Final = 3  # rounds of decoding: a message that quotes a message

# The header or the claims of a token of ours, at any place; another JWT; a signature and what stands before it, in a
# token that lost its beginning. The counts are exact, for ranges would take quadratic time.
_TOKEN: Final = re.compile(
    r"eyJhbGciOi|eyJzaWQiOi|(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10}|[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{43}"
)
# Or a part from the middle of one; words and hashes in hexadecimal do not mix all kinds of characters.
_LONG: Final = re.compile(r"[A-Za-z0-9_-]{64,}")
_KINDS: Final = tuple(map(re.compile, ("[A-Z]", "[a-z]", "[0-9]")))

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({})))
_DEEPEST: Final = 8  # levels of containers that are looked into
_FORMATTER: Final = logging.Formatter()


class RedactTokens(logging.Filter):
    """
    Replace session tokens in log records by ``[token]``; no record is held back.

    Install it on handlers::

        logging.basicConfig()
        for handler in logging.getLogger().handlers:
            handler.addFilter(aiosess.RedactTokens())

    Not on loggers: a logger's filter does not see the records of the loggers
    below it, and ``aiohttp.server`` and ``asyncio`` have loggers of their own.

    It looks at the message with its arguments, the traceback, the stack and
    what ``extra=`` brought: texts, bytes, and dictionaries, lists and tuples of
    them; any other object is replaced by its repr if a token stands there. A
    token is also found if it was cut, quoted, escaped or percent-encoded; other
    JSON Web Tokens are replaced too. A record without a token stays as it is.
    One with a token has its message formatted, so that it has no arguments
    left, and its traceback as text only.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the tokens in a record and let it pass; never raises."""
        try:
            _redact_record(record)
        except Exception:  # noqa: BLE001 - logging must not end a request, nor show what could not be looked at
            record.msg, record.args = "aiosess: a log record could not be searched for tokens, and is left out", None
            record.exc_info = record.exc_text = record.stack_info = None
        return True


def _redact_record(record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - the arguments do not fit; the handler will say so, and repeat them
        message = f"{record.msg!r} with the arguments {record.args!r}"
    redacted = _redact(message)
    if redacted is not message:
        record.msg, record.args = redacted, None
    args = _redact_value(record.args)
    if isinstance(args, str):  # a mapping of another kind, which no message can be made with any more
        record.msg, args = redacted, None
    record.args = args
    if record.exc_info:
        shown = _FORMATTER.formatException(record.exc_info)
        redacted = _redact(shown)
        if redacted is not shown:
            record.exc_info, record.exc_text = None, redacted
    for name in ("exc_text", "stack_info", *(vars(record).keys() - _STANDARD)):
        setattr(record, name, _redact_value(getattr(record, name)))


def _redact_value(value: Any, depth: int = 0) -> Any:  # noqa: ANN401 - whatever an application logs
    """Return a value without tokens: the same object if it has none."""
    if isinstance(value, str):
        return _redact(value)
    if isinstance(value, bytes):
        text = value.decode("latin-1")
        redacted = _redact(text)
        return value if redacted is text else redacted.encode("latin-1")
    if value is None or isinstance(value, (int, float)):
        return value
    if depth < _DEEPEST and type(value) is dict:
        items = [(_redact_value(key, depth + 1), _redact_value(each, depth + 1)) for key, each in value.items()]
        same = all(key is old and each is value[old] for (key, each), old in zip(items, value, strict=True))
        return value if same else dict(items)
    if depth < _DEEPEST and type(value) in {list, tuple}:
        several = [_redact_value(each, depth + 1) for each in value]
        same = all(each is old for each, old in zip(several, value, strict=True))
        return value if same else type(value)(several)
    return _redact_other(value)


def _redact_other(value: Any) -> Any:  # noqa: ANN401 - headers, sets, exceptions, requests, what is nested too deeply
    """Return an object's repr without tokens, or the object if it shows none."""
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001 - nobody else can show it
        return value
    redacted = _redact(shown)
    return value if redacted is shown else redacted


def _redact(text: str) -> str:
    """Return a text without tokens: the same object if it has none."""
    redacted = _RUN.sub(_replace, text)
    return text if redacted == text else redacted


def _replace(match: re.Match[str]) -> str:
    run = match[0]
    return REPLACEMENT if _has_token(run) or _has_token(_decoded(run)) else run


def _has_token(run: str) -> bool:
    if _TOKEN.search(run):
        return True
    return any(all(kind.search(part) for kind in _KINDS) for part in _LONG.findall(run))


def _decoded(run: str) -> str:
    for _ in range(_ESCAPED_TWICE):
        before, run = run, _ESCAPE.sub(_unescaped, run)
        if run == before:
            break
    return run


def _unescaped(match: re.Match[str]) -> str:
    """Return the character that an escape stands for; none for those that only split what belongs together."""
    number = match[1] or match[2] or match[3]
    char = chr(int(number, 16)) if number else ""
    return char if char.isascii() and char.isprintable() else ""
