"""RedactTokens: no token in any part of a log record, and every other record as it was."""

import json
import logging
import sys
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from types import MappingProxyType, SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from aiosess import RedactTokens
from tests.token.forge import AUDIENCE, KEYRING, claims, fresh, header, signed
from tests.world.site import Site
from tests.world.wire import COOKIE, request_bytes

TOKEN = signed(header(), claims())
HEAD, BODY, SIGNATURE = TOKEN.split(".")
NAME = COOKIE.encode()


@pytest.fixture
def printed() -> StringIO:
    """Return what a handler with the filter, on the root logger, has written."""
    return StringIO()


@pytest.fixture(autouse=True)
def _handler(printed: StringIO) -> Any:
    handler = logging.StreamHandler(printed)
    handler.addFilter(RedactTokens())
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


def filtered(message: object, *args: object, **fields: Any) -> logging.LogRecord:
    """Return a record after the filter has seen it."""
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, message, args, None)
    vars(record).update(fields)
    assert RedactTokens().filter(record)
    return record


# How tokens get into logs


@pytest.mark.threat("LOG-01")
@pytest.mark.parametrize(
    "line",
    [
        b"Cookie: %n=%t\x00",
        b"Cookie : %n=%t",
        b"Cookie: a=\x07; %n=%t",
        b"%n=%t",
        b"Cookie: %n=%h\r\n %r",
        b"Cookie: %n=%h\x00%r",
        b"Cookie: %n=%ttttttttttttttttttttttttttt" + b"t" * 9000,
    ],
)
async def test_malformed_cookie_line(line: bytes, site: Site, printed: StringIO) -> None:
    """The error of aiohttp about a malformed line with a live token shows the line, and no token in it."""
    token = (await site.login()).encode()
    bad = line.replace(b"%n", NAME).replace(b"%t", token).replace(b"%h", token[:100]).replace(b"%r", token[100:])
    wire = await site.wire()
    assert (await wire.ask(request_bytes("/me", bad))).status == 400
    shown = printed.getvalue()
    assert "Error handling request" in shown
    assert "[token]" in shown
    assert not [n for n in range(len(token) - 16) if token[n : n + 16].decode() in shown]


async def fails(request: web.Request) -> NoReturn:
    """Raise an error that repeats the request's headers."""
    raise ValueError(dict(request.headers))


@pytest.mark.threat("LOG-01")
@pytest.mark.site(web.get("/fails", fails))
async def test_handler_that_fails(site: Site, printed: StringIO) -> None:
    """The traceback of a handler that repeats its headers is logged without the token."""
    token = await site.login()
    assert (await site.present(token, "/fails")).status == 500
    assert f"ValueError: {{'Host': 'site', 'Cookie': '{COOKIE}=[token]'}}" in printed.getvalue()
    assert token[-20:] not in printed.getvalue()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "real": lambda _: KEYRING.sign(fresh(), AUDIENCE),
    "cookie": lambda token: f"Cookie: a=1; {COOKIE}={token}; b=2",
    "repr": lambda token: repr({"Cookie": f"a={token}"}),
    "repr of bytes": lambda token: repr(f"\xff\0{token}\0".encode()),
    "repr of a repr": lambda token: repr(repr(f"\0{token}\n")),
    "json": lambda token: json.dumps({"t": [json.dumps(token)]}),
    "percent": lambda token: quote(f"{COOKIE}={token}"),
    "percent, all": lambda token: "".join(f"%{ord(char):02X}" for char in token),
    "percent, twice": lambda token: quote(quote(f"=/{token}".replace(".", "%2E"))),
    "percent, all, three times": lambda token: quote(quote("".join(f"%{ord(char):02X}" for char in token))),
    "hexadecimal escapes": lambda token: "".join(f"\\x{ord(char):02x}" for char in token),
    "unicode escapes": lambda token: "".join(f"\\u{ord(char):04x}" for char in token),
    "split by escapes": lambda token: "\\r\\n".join(token[n : n + 7] for n in range(0, len(token), 7)),
    "split by control characters": lambda token: "\0".join(token[n : n + 7] for n in range(0, len(token), 7)),
    "cut behind": lambda token: token[:100],
    "cut to its claims": lambda token: token[: token.rindex(".")],
    "cut in front": lambda token: token[5:],
    "without its header": lambda token: token[token.index(".") + 1 :],
    "without its beginning": lambda token: token[-70:],
    "the middle": lambda token: token[110:250],
    "in a word": lambda token: f"session_{token}",
    "behind a word": lambda token: f"session{token}",
    "another JWT": lambda _: "eyJ0eXAiOiJKV1QifQ." + BODY[11:] + "." + SIGNATURE,
}


@pytest.mark.threat("LOG-01")
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("where", ["message", "argument", "named", "hidden", "bytes", "exception", "stack", "extra"])
def test_token_is_replaced(spelling: str, where: str) -> None:
    """A token is replaced wherever it stands in a record, and however it is spelled; twice is as once."""
    text = SPELLINGS[spelling](TOKEN)
    record = {
        "message": lambda: filtered(f"before {text} behind"),
        "argument": lambda: filtered("before %s behind", text),
        "named": lambda: filtered("before %(t)s behind", {"t": text}),
        "hidden": lambda: filtered("before %.2s behind", text),
        "bytes": lambda: filtered("before %s behind", text.encode()),
        "exception": lambda: filtered("before", exc_info=caught(ValueError(text))),
        "stack": lambda: filtered("before", stack_info=f"before {text} behind", exc_text=text),
        "extra": lambda: filtered("before", headers={"a": [(text,)], text: 1}, raw=text.encode()),
    }[where]()
    assert "[token]" in repr(vars(record))
    printed = logging.Formatter().format(record)
    assert "before" in printed
    once = repr(vars(record))
    told = TOKEN if TOKEN in text else text
    assert not [n for n in range(0, len(told) - 24, 8) if told[n : n + 24] in printed + once]
    assert RedactTokens().filter(record)
    assert repr(vars(record)) == once


def caught(error: Exception) -> Any:
    """Return an error as logging has it."""
    try:
        raise error
    except type(error):
        return sys.exc_info()


# Everything else


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("plain", ()),
        ("%s of %d: %.1f%%", ("a", 3, 0.5)),
        ("%(a)s", ({"a": [1, (2, "x" * 500)], 3: b"\xff" * 90},)),
        (ValueError("monkeyJumps.over.the.keyJournalEntries"), ()),
        ("100% sure %% \\ \\x41 C:\\Users\\somebody\\a-long-name %20%41", ()),
        ("%s", ("01890a5d-ac96-774b-bcce-b302099a8057 " + "0123456789abcdef" * 4 + " " + "-" * 200 + "A_" * 100,)),
        ("%s", ("a_module_with_a_long_name.and_a_function." * 20,)),
        ("eyJ, eyJhbGci and eyJ.eyJ.eyJ are short", ()),
    ],
)
def test_record_without_a_token_is_left_alone(message: object, args: tuple[Any, ...]) -> None:
    """Message and arguments of a record without a token are the very objects that were logged, traceback included."""
    error, extra = caught(KeyError("plain")), {"key": [(1, "x"), {"y": b"z"}]}
    record = filtered(message, *args, exc_info=error, stack_info="stack", extra=extra)
    assert record.msg is message
    kept = (record.args,) if isinstance(record.args, dict) else record.args
    assert kept is not None
    assert all(each is given for each, given in zip(kept, args, strict=True))
    assert (record.exc_info, record.stack_info, record.exc_text) == (error, "stack", None)
    assert record.extra is extra  # type: ignore[attr-defined]  # what extra= brought


def test_arguments_that_do_not_fit() -> None:
    """A record whose arguments do not fit stays as it is, for logging to complain; with a token it becomes a text."""
    record = filtered("%d", "text")
    assert (record.msg, record.args) == ("%d", ("text",))
    record = filtered("%d", TOKEN)
    assert record.getMessage() == "'%d' with the arguments ('[token]',)"


class Broken:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        """Fail."""
        raise ValueError


def test_record_that_cannot_be_read(printed: StringIO) -> None:
    """An object that raises when it is shown raises nothing here, and what could not be looked at is not logged."""
    logging.getLogger("broken").error("%s %s", TOKEN, Broken())
    assert printed.getvalue() == "aiosess: a log record could not be searched for tokens, and is left out\n"


def test_deep_and_circular_extras() -> None:
    """Containers are looked into to some depth; one that holds itself does no harm."""
    circular: list[Any] = [TOKEN]
    circular.append(circular)
    deep: Any = "end"
    for _ in range(10_000):
        deep = [deep]
    record = filtered("message", circular=circular, deep=deep)
    assert vars(record)["circular"][0] == "[token]"
    assert vars(record)["deep"] is deep
    assert record.msg == "message"


@dataclass
class Visitor:
    """Something of the application's that shows what it holds."""

    token: object


def nested(value: object, depth: int) -> object:
    """Return a value in so many lists."""
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.threat("LOG-01")
@pytest.mark.parametrize("extra", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        CIMultiDict(Cookie=f"a={TOKEN}"),
        CIMultiDictProxy(CIMultiDict({TOKEN: "a"})),
        OrderedDict(a=[TOKEN]),
        MappingProxyType({"a": {"b": TOKEN}}),
        {"a": [CIMultiDict(a=TOKEN)]},
        *({TOKEN}, frozenset({TOKEN.encode()}), deque([TOKEN]), bytearray(TOKEN.encode()), SimpleNamespace(a=TOKEN)),
        *(ValueError(TOKEN), Visitor(TOKEN), [Visitor([Visitor(TOKEN)])], UserDict(a=TOKEN)),
        *(nested(TOKEN, depth) for depth in (1, 7, 8, 9, 50)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_objects_with_a_token(value: object, *, extra: bool) -> None:
    """Whatever container or object of an application shows a token, as extra or unused argument, is replaced."""
    record = filtered("before", headers=value) if extra else filtered("before%.0s%.0s", 1, value)
    shown = repr(vars(record))
    assert "[token]" in shown
    assert not [part for part in (HEAD, BODY, SIGNATURE) if part in shown]
    assert logging.Formatter().format(record) in {"before", "before[token]"}


@pytest.mark.parametrize(
    "value", [CIMultiDict(Cookie="a=b"), {"a"}, deque([1]), ValueError("x"), Visitor("none"), object(), None, 1.5, True]
)
def test_other_objects_without_a_token(value: object) -> None:
    """Objects that show no token are the very ones that were logged."""
    record = filtered("%.0s", value, headers=value, deep=[{"a": value}])
    assert any(each is value for each in (record.args, *(record.args or ())))
    assert vars(record)["headers"] is value
    assert vars(record)["deep"][0]["a"] is value


def test_mapping_as_arguments() -> None:
    """A mapping of any kind whose hidden part has a token is replaced, and the message stays."""
    record = filtered("%(a)s and more", CIMultiDict(a="before", b=TOKEN))
    assert (record.getMessage(), record.args) == ("before and more", None)


def test_object_that_cannot_be_shown_as_extra() -> None:
    """An object without a repr is left where it is: it shows nobody a token."""
    broken = Broken()
    assert vars(filtered("message", broken=broken))["broken"] is broken


def test_child_loggers_are_seen(printed: StringIO) -> None:
    """On a handler the filter sees the records of every logger, asyncio's too."""
    for name in ("asyncio", "aiohttp.server", "a.b.c"):
        logging.getLogger(name).error("it is %s", TOKEN)
    assert printed.getvalue() == "it is [token]\n" * 3


pieces = st.sampled_from(
    [
        *(
            "eyJ",
            "eyJhbGciOi",
            HEAD,
            BODY,
            SIGNATURE,
            TOKEN,
            TOKEN[:50],
            TOKEN[60:],
            ".",
            "\\x00",
            "\\",
            "%2E",
            "%",
            "%s",
        ),
        *("\0", "\n", " ", "é", "=", "-" * 20, "a" * 60, "A1"),
    ]
)


@pytest.mark.threat("LOG-01")
@given(st.lists(pieces | st.text(max_size=5), max_size=12).map("".join))
def test_any_text_passes_once(text: str) -> None:
    """No text raises an error or keeps a whole token, and what was redacted stays as it is."""
    once = filtered(text).getMessage()
    assert TOKEN not in once
    assert filtered(once).getMessage() == once


@pytest.mark.parametrize(
    "text", ["\\" * 400_000, "%" * 400_000, "a" * 400_000, "eyJ" * 130_000, "-." * 200_000, "%25" * 9**5]
)
def test_long_texts_take_linear_time(text: str) -> None:
    """Hundreds of kilobytes that look like the beginning of a token are done within the test's deadline."""
    assert filtered(text).getMessage() in {text, "[token]"}
