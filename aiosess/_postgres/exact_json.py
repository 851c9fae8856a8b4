"""
User ids and JSON values that PostgreSQL gives back exactly as they were.

``jsonb`` refuses NUL, lone surrogates and NaN, and rewrites numbers: 1e2 comes back as 100 and -0.0 loses its sign. All
of that is refused here, before SQL, so that ``get()`` returns what ``set()`` was given, types included.
"""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

from aiosess.errors import InvalidData

MAX_USER_ID_BYTES = 512  # it is indexed; a btree entry holds some 2,700 bytes
MAX_KEY_CHARACTERS = 255
MAX_DEPTH = 32

# 1e-300, outside of strings, which the first branch passes over.
_SMALL_FLOAT = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9.]+e-[0-9]+')


def check_user_id(user_id: object) -> str:
    """
    Return the user id as it was, if it can be stored exactly.

    Raises:
        InvalidData: not text, empty, longer than 512 bytes of UTF-8, or with a NUL or lone surrogate.

    """
    if type(user_id) is not str:
        _refuse(f"the user id must be a str, not {type(user_id).__name__}; convert it in the application")
    if not user_id:
        _refuse("the user id must not be empty")
    if len(_utf8(user_id, "the user id")) > MAX_USER_ID_BYTES:
        _refuse(f"the user id must be at most {MAX_USER_ID_BYTES} bytes of UTF-8")
    return user_id


def check_key(key: object) -> str:
    """
    Return a key of the data, if it can be stored exactly.

    Raises:
        InvalidData: not text, longer than 255 characters, or with a NUL or lone surrogate.

    """
    if type(key) is not str:
        _refuse(f"a key must be a str, not {type(key).__name__}")
    if len(key) > MAX_KEY_CHARACTERS:
        _refuse(f"a key must be at most {MAX_KEY_CHARACTERS} characters")
    _utf8(key, "a key")
    return key


def encode_data(data: object, max_bytes: int) -> str:
    """
    Return the JSON text of a whole payload.

    Raises:
        InvalidData: not a dict, too large, or with a value that would not come back as it is.

    """
    if type(data) is not dict:
        _refuse(f"data must be a dict, not {type(data).__name__}")
    return encode_value(data, max_bytes)


def encode_value(value: Any, max_bytes: int) -> str:  # noqa: ANN401 - any value is asked about
    """
    Return the JSON text of a value that jsonb keeps exactly.

    Raises:
        InvalidData: it would be refused, changed, is nested deeper than 32, or larger than ``max_bytes``.

    """
    _Validator(max_bytes).check(value, MAX_DEPTH)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:  # an int of more digits than sys.get_int_max_str_digits()
        message = "an int has too many digits"
        raise InvalidData(message) from error
    if "e-" in text:
        text = _SMALL_FLOAT.sub(_spelt_out, text)
    if len(text.encode()) > max_bytes:
        _refuse_size(max_bytes)
    return text


def _spelt_out(match: re.Match[str]) -> str:
    """Write a small float as jsonb will, with all its zeros: the limit is on what the database keeps."""
    text = match[0]
    return text if text.startswith('"') else f"{Decimal(text):f}"


class _Validator:
    """Looks at every value; each takes a byte at least, so more values than bytes are too many, shared ones too."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values = 0

    def check(self, value: Any, depth: int) -> None:  # noqa: ANN401 - any value is asked about
        """Refuse a value that would not come back as it is."""
        self._values += 1
        if self._values > self._max_bytes:
            _refuse_size(self._max_bytes)
        # Exact types: a subclass (an IntEnum, an OrderedDict) would come back as its base.
        kind = type(value)
        if value is None or kind is bool or kind is int:
            return
        if kind is str:
            _utf8(value, "text")
        elif kind is float:
            _check_float(value)
        elif depth == 0:
            _refuse(f"the data is nested deeper than {MAX_DEPTH}")
        elif kind is list:
            for item in value:
                self.check(item, depth - 1)
        elif kind is dict:
            for key, item in value.items():
                check_key(key)
                self.check(item, depth - 1)
        else:
            _refuse(f"{kind.__name__} is no JSON type: it would not come back as it is")


def _refuse_size(max_bytes: int) -> NoReturn:
    _refuse(f"the data would be larger than max_data_bytes ({max_bytes})")


def _check_float(value: float) -> None:
    text = repr(value)
    # "1e+22" has no fraction, so jsonb's numeric would give it back as an int; "-0.0" would lose its sign.
    if "." not in text and "e-" not in text:
        _refuse("a float is NaN, infinite, or so large that it would come back as an int")
    if "e+" in text or text == "-0.0":
        _refuse("a float is so large that it would come back as an int, or is -0.0 and would lose its sign")


def _utf8(text: str, what: str) -> bytes:
    if "\0" in text:
        _refuse(f"{what} must not hold NUL")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        message = f"{what} must not hold lone surrogates"
        raise InvalidData(message) from error


def _refuse(why: str) -> NoReturn:
    raise InvalidData(why)
