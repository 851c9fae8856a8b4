"""
User ids and JSON values that PostgreSQL gives back exactly as they were.

``jsonb`` refuses NUL, lone surrogates and NaN, and rewrites numbers: 1e2 comes back as 100 and -0.0 loses its sign. All
of that is refused here, before SQL, so that ``get()`` returns what ``set()`` was given, types included.
"""

import json
from decimal import Decimal
from typing import Any, NoReturn

from aiosess.errors import InvalidData

MAX_USER_ID_BYTES = 512  # it is indexed; a btree entry holds some 2,700 bytes
MAX_KEY_CHARACTERS = 255
MAX_DEPTH = 32

# PostgreSQL's bigint: what increment() adds travels as one.
MAX_STEP = 2**63 - 1


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


def check_step(by: object) -> int:
    """
    Return what ``increment()`` is to add.

    Raises:
        InvalidData: not an int, or not within 64 bits.

    """
    if type(by) is not int:
        _refuse(f"an increment must be an int, not {type(by).__name__}")
    if abs(by) > MAX_STEP:
        _refuse("an increment must be within 64 bits")
    return by


def encode_data(data: object, max_bytes: int) -> str:
    """
    Return the JSON text of a whole payload.

    Raises:
        InvalidData: not a dict, too large, or with a value that would not come back as it is.

    """
    if type(data) is not dict:
        _refuse(f"data must be a dict, not {type(data).__name__}")
    return encode_value(data, max_bytes)


def encode_patch(values: object, max_bytes: int) -> str:
    """
    Return the JSON text of keys that are to be set together; each value may be nested as deep as one that is set alone.

    Raises:
        InvalidData: not a dict, too large, or with a value that would not come back as it is.

    """
    if type(values) is not dict:
        _refuse(f"the values must be a dict, not {type(values).__name__}")
    return encode_value(values, max_bytes, MAX_DEPTH + 1)


def encode_value(value: Any, max_bytes: int, max_depth: int = MAX_DEPTH) -> str:  # noqa: ANN401 - any value is asked about
    """
    Return the JSON text of a value that jsonb keeps exactly.

    The work is linear in ``max_bytes``, whatever the value is: what is too large is refused while it is walked, before
    it becomes text.

    Raises:
        InvalidData: it would be refused, changed, is nested deeper than 32, or larger than ``max_bytes``.

    """
    validator = _Validator(max_bytes)
    validator.check(value, max_depth)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:  # an int of more digits than sys.get_int_max_str_digits()
        message = "an int has too many digits"
        raise InvalidData(message) from error
    if len(text.encode()) + validator.zeros > max_bytes:
        _refuse_size(max_bytes)
    return text


class _Validator:
    """
    Looks at every value, and adds up the bytes that its text has at least.

    It stops as soon as they are too many: of a large value only the beginning is walked, and no text is made.

    Attributes:
        zeros: How many characters jsonb needs more than Python, for it writes 1e-300 with all its zeros.

    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = self._left = max_bytes
        self.zeros = 0

    def check(self, value: Any, depth: int) -> None:  # noqa: ANN401 - any value is asked about
        """Refuse a value that would not come back as it is."""
        # Exact types: a subclass (an IntEnum, an OrderedDict) would come back as its base.
        kind = type(value)
        if value is None or kind is bool:
            self._spend(4)
        elif kind is int:
            self._spend(value.bit_length() * 3 // 10 or 1)  # digits: log10(2) is a bit more
        elif kind is str:
            self._spend(len(value) + 2)
            _utf8(value, "text")
        elif kind is float:
            self._check_float(value)
        elif depth == 0:
            _refuse(f"the data is nested deeper than {MAX_DEPTH}")
        elif kind is list:
            self._spend(2 * len(value) or 2)  # the brackets, and ", " between the items
            for item in value:
                self.check(item, depth - 1)
        elif kind is dict:
            self._spend(6 * len(value) or 2)  # quotes and ": " too
            for key, item in value.items():
                self._spend(len(check_key(key)))
                self.check(item, depth - 1)
        else:
            _refuse(f"{kind.__name__} is no JSON type: it would not come back as it is")

    def _check_float(self, value: float) -> None:
        text = repr(value)
        # "1e+22" has no fraction, so jsonb's numeric would give it back as an int; "-0.0" would lose its sign.
        if "." not in text and "e-" not in text:
            _refuse("a float is NaN, infinite, or so large that it would come back as an int")
        if "e+" in text or text == "-0.0":
            _refuse("a float is so large that it would come back as an int, or is -0.0 and would lose its sign")
        if "e-" in text:
            zeros = len(f"{Decimal(text):f}") - len(text)
            self.zeros += zeros
            self._spend(zeros)
        self._spend(len(text))

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            _refuse_size(self._max_bytes)


def _refuse_size(max_bytes: int) -> NoReturn:
    _refuse(f"the data would be larger than max_data_bytes ({max_bytes})")


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
