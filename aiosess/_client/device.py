"""
A coarse description of the client's device, read from its User-Agent.

A stranger wrote the User-Agent, so nothing here raises an error for any text.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from ua_parser import Result, parse

from aiosess._client.device_rules import BROWSERS, PLATFORMS, THINGS, first
from aiosess.session import DeviceType


def clean(text: str, limit: int) -> str:
    """
    Make text from outside safe to store and to show: at most `limit` characters, all of them printable.

    White space of any kind becomes a space. Other characters that do not print become U+FFFD: NUL and lone surrogates,
    which PostgreSQL refuses; ESC; bidi overrides, which make a line read as another one. HTML is not escaped.
    """
    text = text[:limit]
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text)


_MAX_USER_AGENT = 512  # real ones rarely reach it; bounds the parser's time: 10 ms at worst in pure Python
_MAX_NAME = 64

# For iOS apps the parser takes all text before "/1 CFNetwork" for the family, versions included.
_VERSION = re.compile(r"[\s_-]*v?\d+\.\d.*|/.*")
_VARIANT = re.compile(r"[\s-]*\b(?:Mobile|Tablet|Touch|WebView|iOS|Android|Alpha|Beta)\b")
_PRODUCT = re.compile(r"(?!Mozilla/)([A-Za-z][A-Za-z._-]*)/")  # RFC 9110, 10.1.5; no digits: they may be a version
_BROWSERS = {
    "Apple Mail": "Safari",  # what the parser calls each web view on a Mac
    "HeadlessChrome": "Headless Chrome",
    "IE": "Internet Explorer",
    "Safari UI": "Safari",
}
_TEXT_BROWSERS = {"ELinks", "Links"}
_PLATFORMS = {"Chrome OS": "ChromeOS", "Mac OS": "macOS", "Mac OS X": "macOS"}
# A browser's packager decides whether it names the distribution: Firefox on Ubuntu did, and no longer does.
_DISTRIBUTION = re.compile(
    "Arch Linux|CentOS|Debian|Fedora|Gentoo|Linux Mint|Mageia|Mandriva|PCLinuxOS|Puppy|Red Hat|Slackware"
    "|(?:open)?SUSE|(?:Ku|Lu|U)buntu"
)
_DESKTOPS = {"ChromeOS", "FreeBSD", "Linux", "macOS", "NetBSD", "OpenBSD", "Solaris", "Windows"}
_PHONES = {"BlackBerry OS", "Firefox OS", "iOS", "KaiOS", "Windows Mobile", "Windows Phone"}


@dataclass(frozen=True, slots=True)
class Device:
    """
    A coarse description of the program that sent a request, as the program itself gives it.

    `user_agent` is clean and has at most 512 characters. `name` is for people ("Firefox on Linux") and has at most 64.
    Both are still a stranger's text: a page must escape them. `fingerprint` is 16 hex digits over browser family,
    platform and device type; an update, another language or another network leave it as it was. Millions of people
    share one, so it identifies nobody and proves nothing. It differs when a cookie is used on another kind of device.
    """

    user_agent: str
    name: str
    type: DeviceType
    fingerprint: str


def describe(user_agent: str | None) -> Device:
    """
    Describe the device of a User-Agent header: any text, or None for a request without one.

    The function believes the header: a tablet that asks for the desktop site is a desktop.
    """
    return _describe(clean(user_agent or "", _MAX_USER_AGENT).strip())


def same_device(user_agent: str | None, known: str | None) -> bool:
    """
    Say whether two User-Agent headers have the same fingerprint.

    Both are read with today's tables. A stored fingerprint would not do: an update of the parser may move a browser to
    another family, and its device would seem to have changed.
    """
    return describe(user_agent).fingerprint == describe(known).fingerprint


def warm_up() -> None:
    """Load the parser's tables now (0.15 s or more), so that no request waits for them."""
    parse("Mozilla/5.0")


@lru_cache(maxsize=1024)  # parsing takes 1 to 5 ms in pure Python; the keys are cut, so the cache has at most 2 MB
def _describe(text: str) -> Device:
    browser, platform, kind = _parts(text)
    # Clean text has no line feed, so two different triples never join to the same text.
    digest = sha256(f"{browser}\n{platform}\n{kind}".encode()).hexdigest()
    return Device(text, _name(browser, platform, kind)[:_MAX_NAME].rstrip(), kind, digest[:16])


def _parts(text: str) -> tuple[str, str, DeviceType]:
    """Return browser family, platform and type: by our rules, or else by the parser."""
    thing = first(THINGS, text)
    if thing:
        return thing[0], "", thing[1]
    result = parse(text)
    browser = _browser(text, result)
    ours = first(PLATFORMS, text)
    if ours:
        return browser, *ours
    platform = _platform(result)
    kind = _kind(text, result, platform)
    if _is_program(text, browser, kind):
        return browser, "", "program"
    return browser, platform, kind


def _browser(text: str, result: Result) -> str:
    """Return the family that people know ("Chrome" for "Chrome Mobile iOS"), or a program's product name, or ""."""
    ours = first(BROWSERS, text)
    if ours:
        return ours[0]
    product = _PRODUCT.match(text)
    if result.user_agent is None or (product and result.user_agent.family == "okhttp"):
        return product[1] if product else ""
    family = _VERSION.sub("", result.user_agent.family).replace("%20", " ").strip()
    family = _VARIANT.sub("", family).strip() or family
    return _BROWSERS.get(family, family)


def _is_program(text: str, browser: str, kind: DeviceType) -> bool:
    """Say whether a program sent this that is no browser, and no app on a phone: those begin with "Mozilla/"."""
    if kind not in {"desktop", "unknown"} or browser in _TEXT_BROWSERS:
        return False
    return _PRODUCT.match(text) is not None and not text.startswith("Opera/")


def _platform(result: Result) -> str:
    family = result.os.family if result.os else ""
    if family == "iOS" and result.device and result.device.family == "iPad":
        return "iPadOS"
    return "Linux" if _DISTRIBUTION.fullmatch(family) else _PLATFORMS.get(family, family)


def _kind(text: str, result: Result, platform: str) -> DeviceType:
    if result.device and result.device.family == "Spider":
        return "bot"
    if platform in _DESKTOPS:
        return "desktop"
    if platform == "Android":
        # Browsers on phones say "Mobile", those on tablets do not; apps (Dalvik, okhttp) never learnt the custom.
        return "mobile" if "Mobile" in text or not text.startswith("Mozilla/") else "tablet"
    if platform == "iPadOS":
        return "tablet"
    return "mobile" if platform in _PHONES else "unknown"


def _name(browser: str, platform: str, kind: DeviceType) -> str:
    if not browser and not platform:
        return "Unknown device"
    if browser and (kind == "bot" or platform in ("", browser)):
        return browser
    return f"{browser or 'Unknown browser'} on {platform}"
