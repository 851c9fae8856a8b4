"""
What User-Agents of televisions, consoles, apps, programs and robots look like; the parser knows little of them.

Each table is read from its top: the first rule that is found decides. The names are what a person calls the thing.
"""

import re
from typing import Final, NamedTuple

from aiosess.session import DeviceType


class Rule(NamedTuple):
    """A pattern, and what a User-Agent that contains it tells; the name may refer to a group of the pattern."""

    pattern: re.Pattern[str]
    name: str
    kind: DeviceType


def _rules(kind: DeviceType, names: dict[str, str]) -> tuple[Rule, ...]:
    return tuple(Rule(re.compile(pattern), name, kind) for pattern, name in names.items())


# Things whose name says all: nobody tells the browsers of a television apart. Robots come first, because some add
# their name to the User-Agent of a phone. A robot's name does not follow "/" or "@", which begin a part of an address.
THINGS: Final = (
    *_rules(
        "bot",
        {
            "facebookexternalhit|facebookcatalog|meta-external": "Facebook",
            "[Pp]ingdom": "Pingdom",
            "^WhatsApp/": "WhatsApp",  # makes previews of links
            "^(kube-probe|ELB-HealthChecker|GoogleHC|Prometheus|Blackbox Exporter)": r"\1",
            r"(?<![\w./@-])([A-Za-z][A-Za-z-]{0,30}(?:[Bb]ot|[Ss]pider|[Cc]rawler))(?![A-Za-z])": r"\1",
        },
    ),
    *_rules(
        "console",
        {
            "PlayStation (Vita|[1-9])": r"PlayStation \1",
            "P[Ll][Aa][Yy][Ss][Tt][Aa][Tt][Ii][Oo][Nn]": "PlayStation",
            "; Xbox": "Xbox",  # Edge says "Xbox One" on newer ones as well
            "Nintendo Wii ?U": "Nintendo Wii U",
            r"Nintendo (Switch(?: \d)?|3DS|DSi|Wii)": r"Nintendo \1",
            "Steam Deck": "Steam Deck",
            r"OculusBrowser|; Quest(?: \w+)?\)": "Meta Quest",
            "PicoBrowser": "Pico",
        },
    ),
    *_rules(
        "tv",
        {
            "Apple ?TV|tvOS": "Apple TV",
            r"; AFT[A-Z]\w* ?(?:Build|[;)])|Fire ?TV": "Fire TV",
            r"\bRoku": "Roku",
            "CrKey|; Chromecast": "Chromecast",
            "Web0S|[Ww]eb[Oo][Ss]\\.?TV|NetCast|LG Browser": "LG TV",
            "BRAVIA": "Sony TV",
            "Hisense; ?Smart|VIDAA.*Hisense": "Hisense TV",
            "VIDAA": "VIDAA TV",
            "VIZIO": "Vizio TV",
            "Philips;|Philips_TV|NETTV/": "Philips TV",
            "Viera|VIERA": "Panasonic TV",
            r"SMART-TV|Tizen [\d.]+\).* TV |; ?Samsung; ?SmartTV": "Samsung TV",
            "Google ?TV": "Google TV",
            r"Android ?TV|; (?:MiTV|MIBOX)": "Android TV",
            "HbbTV|Smart-?TV|CE-HTML": "TV",
        },
    ),
    *_rules(
        "tablet",
        {r"Kindle/": "Kindle", "Kobo (?:Touch|eReader)": "Kobo", "PocketBook": "PocketBook", "Tesla/": "Tesla"},
    ),
    *_rules(
        "mobile",
        {"[Ww]atch ?OS": "Apple Watch", "; SM-(?:R[89]|L)[0-9]{2}": "Galaxy Watch", "; Pixel Watch": "Pixel Watch"},
    ),
    *_rules(
        "desktop",
        {"^w3m/": "w3m", "^Lynx/": "Lynx"},  # do not say which system they run on
    ),
    *_rules(
        "program",
        {
            r"^Python/\S+ aiohttp/": "aiohttp",
            "^python-requests/": "Python Requests",
            "^python-httpx/": "HTTPX",
            "^Python[-/]": "Python",
            "^Go-http-client/": "Go",
            "^Java(?:-http-client)?/": "Java",
            "^(?:libwww-perl|LWP)": "Perl",
            "^PostmanRuntime/": "Postman",
            "^insomnia/": "Insomnia",
            "^(?:node|node-fetch|undici)(?:/|$)": "Node.js",
            "^Apache-HttpClient/": "Apache HttpClient",
            "^GuzzleHttp/": "Guzzle",
            "^Faraday v": "Faraday",
            r"\b(?:Windows)?PowerShell/": "PowerShell",
        },
    ),
)

# Desktop modes first: Firefox, Chrome and Edge on an iPad say that they are on a Mac. Harmony names Android as well.
PLATFORMS: Final = (
    *_rules("tablet", {r"Macintosh.*\b(?:FxiOS|CriOS|EdgiOS|Focus|Klar|GSA|OPX|OPT|Mobile)/": "iPadOS"}),
    *_rules("mobile", {r"\(Phone; OpenHarmony|HarmonyOS;.* Mobile ": "HarmonyOS"}),
    *_rules("desktop", {r"\((?:PC|2in1); OpenHarmony": "HarmonyOS"}),
    *_rules("tablet", {"OpenHarmony|HarmonyOS": "HarmonyOS", r"; KF[A-Z]{3,}\b": "Fire OS"}),
)

# Browsers, and apps that show pages or are made of them. The kind is that of the platform.
BROWSERS: Final = _rules(
    "unknown",
    {
        "FBAN/Messenger|FBAN/Orca|FB_IAB/(?:MESSENGER|Orca)": "Messenger",
        "FBA[NV]/|FB_IAB/": "Facebook",
        r"\bInstagram ": "Instagram",
        "musical_ly|trill_|BytedanceWebview|TikTok": "TikTok",
        "LinkedInApp": "LinkedIn",
        " WhatsApp/": "WhatsApp",
        r"\bLine/": "LINE",
        "MicroMessenger/": "WeChat",
        r"\bGSA/": "Google app",
        "Twitter for |TwitterAndroid": "X",
        r"\bFocus/": "Firefox Focus",
        r"\bKlar/": "Firefox Klar",
        r"OPX/|OPR/\S+ \(Edition GX": "Opera GX",
        r"\bVivaldi/": "Vivaldi",
        r"DuckDuckGo/|\bDdg/": "DuckDuckGo",
        r"\bSilk/": "Silk",
        "MiuiBrowser/": "Mi Browser",
        "HuaweiBrowser/": "Huawei Browser",
        "ArkWeb/|^Dalvik/": "App",  # a web view, and Android's HTTP client: the app does not tell its name
        r"\bTeams/": "Microsoft Teams",
        "Valve Steam": "Steam",
        r"\bCode/\S+ Chrome/.* Electron/": "VS Code",
        r"\bdiscord/": "Discord",
        r"\bobsidian/": "Obsidian",
        r"\blike Gecko\) ([A-Za-z][\w.-]{0,40})/\S+ Chrome/\S+ Electron/": r"\1",
    },
)


def first(rules: tuple[Rule, ...], text: str) -> tuple[str, DeviceType] | None:
    """Return name and kind by the first rule whose pattern is found in a text, or None."""
    for rule in rules:
        found = rule.pattern.search(text)
        if found:
            return found.expand(rule.name), rule.kind
    return None
