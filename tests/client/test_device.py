"""The device's description: clean text, names for people, and fingerprints that survive an update."""

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiosess._client.device import clean, describe, same_device, warm_up
from tests.client.user_agents import ANDROID, BLINK, GECKO, IPHONE, LINUX, USER_AGENTS, WEBKIT, WINDOWS

# st.text() leaves lone surrogates out, but aiohttp decodes bytes that are no UTF-8 as such.
raw_text = st.text(st.characters(exclude_categories=()), max_size=600)
words = st.sampled_from([*" ;/()0.", "Mozilla/5.0", "Linux; Android 1", "iPad", "CFNetwork/1", "Bot", "spider/1"])


@pytest.mark.threat("LOG-02")
@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Firefox 143: Größe 日本 🦊", "Firefox 143: Größe 日本 🦊"),
        ("a\r\nINFO forged\tline", "a  INFO forged line"),
        ("a\x85b\u2028c\u2029d\u3000e\xa0f", "a b c d e f"),
        ("\0\x1b[31m\x7f\x9b", "\ufffd\ufffd[31m\ufffd\ufffd"),
        ("\udc80\ud83d", "\ufffd\ufffd"),
        ("\u202egnp.exe\u2066\u200b\ufeff\U000e0041", "\ufffdgnp.exe\ufffd\ufffd\ufffd\ufffd"),
        ("x" * 60_000, "x" * 32),
        ("\n" * 60_000, " " * 32),
        ("", ""),
    ],
)
def test_text_is_cleaned(text: str, cleaned: str) -> None:
    """Text loses line breaks, escapes, NUL, surrogates and bidi overrides, keeps letters of any script, and is cut."""
    assert clean(text, 32) == cleaned


@pytest.mark.threat("LOG-02")
@given(text=raw_text, limit=st.integers(0, 600))
@example(text="\0\ud800\u202e\r\n", limit=5)
def test_cleaned_text_is_safe(text: str, limit: int) -> None:
    """Cleaned text is printable, encodes in UTF-8, has no NUL, fits the limit; cleaning it again changes nothing."""
    cleaned = clean(text, limit)
    assert cleaned.isprintable()
    assert b"\0" not in cleaned.encode()
    assert len(cleaned) == min(len(text), limit)
    assert clean(cleaned, limit) == cleaned


@pytest.mark.threat("DEV-06")
@pytest.mark.parametrize(("user_agent", "name", "kind"), USER_AGENTS)
def test_device_is_described(user_agent: str | None, name: str, kind: str) -> None:
    """Browsers, programs and robots get the names and types that people expect."""
    device = describe(user_agent)
    assert (device.name, device.type) == (name, kind)
    assert device.user_agent == (user_agent or "").strip()


@pytest.mark.threat("DEV-06")
@pytest.mark.parametrize(
    "user_agent",
    [
        "x" * 60_000,
        "Mozilla/5.0 (" + "; " * 30_000,
        "A" * 190 + "/1 CFNetwork/1",
        "A" * 63 + " A/1 CFNetwork/1",
        "\0\x1b\r\n\udc80\u202e",
        "Firefox/143.0\r\nSet-Cookie: a=b",
        "/1 CFNetwork/1",
    ],
)
def test_hostile_user_agent_is_cut_and_clean(user_agent: str) -> None:
    """A 60 kB header, control characters and surrogates give a short, printable description."""
    device = describe(user_agent)
    assert len(device.user_agent) <= 512
    assert 0 < len(device.name.strip()) == len(device.name) <= 64
    assert (device.user_agent + device.name).isprintable()


@pytest.mark.threat("DEV-06")
@given(st.one_of(raw_text, st.lists(words).map("".join)))
@example("Bot")
def test_any_user_agent_is_described(user_agent: str) -> None:
    """No header raises; the name is never empty, and describing the stored header again gives the same device."""
    device = describe(user_agent)
    assert device.name.strip() == device.name != ""
    assert len(device.name) <= 64
    assert len(device.fingerprint) == len(bytes.fromhex(device.fingerprint)) * 2 == 16
    assert describe(device.user_agent) == device


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{WINDOWS} {BLINK} Safari/537.36", f"{WINDOWS} {BLINK.replace('140', '141')} Safari/537.36"),
        (
            "Mozilla/5.0 (Windows NT 6.1; Win64; x64; rv:109.0) Gecko/20100101 Firefox/115.0",
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; {GECKO}",
        ),
        (
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        ),
        (
            "Mozilla/5.0 (X11; Fedora; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Mozilla/5.0 (X11; Linux aarch64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            f"{ANDROID.replace('K', 'Pixel 8')} {BLINK} Mobile Safari/537.36",
            f"{ANDROID} {BLINK} Mobile Safari/537.36",
        ),
        (
            f"{IPHONE} {WEBKIT} Version/17.5 Mobile/15E148 Safari/604.1",
            f"{IPHONE.replace('18_6', '26_0')} {WEBKIT} Version/26.0 Mobile/22A1 Safari/604.1",
        ),
        (f"{IPHONE} {WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1", f"{IPHONE} {WEBKIT} Mobile/15E148"),
        ("MyApp/1.4 CFNetwork/1496.0.7 Darwin/23.5.0", "MyApp 2.3.1/45 CFNetwork/1568.1 Darwin/24.0.0"),
        ("python-httpx/0.27.0", "python-httpx/0.28.1"),
        (None, ""),
    ],
)
def test_fingerprint_survives_honest_change(before: str | None, after: str | None) -> None:
    """An update of browser or system, another distribution or phone model leave the fingerprint as it was."""
    assert describe(before).fingerprint == describe(after).fingerprint
    assert same_device(before, after)


def test_fingerprint_differs_between_kinds_of_device() -> None:
    """Another browser family, platform or device type is another fingerprint."""
    devices = [device for device in (describe(row[0]) for row in USER_AGENTS) if device.type != "bot"]
    kinds = {(device.name, device.type) for device in devices}
    prints = {device.fingerprint for device in devices}
    assert len({(device.name, device.type, device.fingerprint) for device in devices}) == len(kinds) == len(prints)
    assert not same_device(f"{ANDROID} {BLINK} Mobile Safari/537.36", f"{ANDROID} {BLINK} Safari/537.36")
    assert not same_device("curl/8.16.0", None)


def test_fingerprint_is_pinned() -> None:
    """The fingerprint of a header is fixed, because rows keep fingerprints."""
    assert describe(f"Mozilla/5.0 (X11; Linux x86_64; {GECKO}").fingerprint == "4d50d753f5fd3c5e"


@pytest.mark.parametrize("system", ["Ubuntu", "Kubuntu", "Debian", "Fedora", "Arch Linux", "Linux Mint", "openSUSE"])
def test_distributions_are_one_platform(system: str) -> None:
    """A Linux distribution's name in the header does not make another platform."""
    assert describe(f"Mozilla/5.0 (X11; {system}; Linux x86_64; {GECKO}").name == "Firefox on Linux"


def test_descriptions_are_memoised() -> None:
    """The same header is parsed once, also if only its part beyond the limit differs."""
    header = f"{LINUX} {BLINK} Safari/537.36 memoised".ljust(600, "x")
    assert describe(header) is describe(header + "y")


def test_warm_up_loads_the_tables() -> None:
    """Importing the library does not load the parser's tables; warming up does."""
    code = (
        "import ua_parser, aiosess._client.device as c; loaded = lambda: 'parser' in vars(ua_parser);"
        "print(loaded()); c.warm_up(); print(loaded())"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
    warm_up()
