"""The texts of the page in English and German; an application may replace texts and add languages."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from markupsafe import Markup, escape

from aiosess.errors import ConfigError

Texts: TypeAlias = Mapping[str, Mapping[str, str]]

ENGLISH: Final[Mapping[str, str]] = {
    "title": "Your devices",
    "skip": "Skip to the content",
    "lead.one": "You are signed in on this device only.",
    "lead.many": "You are signed in on {count} devices. If you do not recognise one of them, end its session.",
    "empty": "There are no sessions on this page.",
    "this device": "This device",
    "active now": "Active now",
    "active": "Active {when}",
    "signed in": "Signed in {when}",
    "no address": "Unknown address",
    "desktop": "Computer",
    "mobile": "Phone",
    "tablet": "Tablet",
    "tv": "TV",
    "console": "Game console",
    "program": "Program",
    "bot": "Bot",
    "unknown": "Unknown kind of device",
    "end": "End session",
    "sign out": "Sign out",
    "end others": "End all other sessions",
    "end others.do": "End others",
    "end others.about": "Every other device will have to sign in again. You stay signed in here.",
    "everywhere": "Sign out everywhere",
    "everywhere.do": "Sign out all",
    "everywhere.about": "Every device will have to sign in again, this one too.",
    "confirm end": "End this session?",
    "confirm end.about": "That device is signed out at once. Using it again needs a new sign-in.",
    "confirm end.do": "End session",
    "confirm sign out": "Sign out on this device?",
    "confirm sign out.about": "Your other devices stay signed in.",
    "confirm sign out.do": "Sign out",
    "confirm others": "End all other sessions?",
    "confirm others.about": "Every other device will have to sign in again. You stay signed in here.",
    "confirm others.do": "End others",
    "confirm everywhere": "Sign out everywhere?",
    "confirm everywhere.about": "Every device will have to sign in again, this one too.",
    "confirm everywhere.do": "Sign out everywhere",
    "cancel": "Cancel",
    "pages": "Pages",
    "page": "Page {page} of {pages}",
    "newer": "Previous",
    "older": "Next",
    "notice.ended": "The session was ended. That device is signed out.",
    "notice.others": "All other sessions were ended.",
    "changed": "The list of your devices has changed.",
    "gone": "You are signed out on this device",
    "gone.about": "This session was ended. If it was not you, change your password.",
    "gone.expired": "This session has expired: it was not used for a while, or it has reached its time limit.",
    "gone.unknown": "This session is over: it was ended, or it has expired.",
    "sign in": "Sign in again",
    "back": "Back to your devices",
    "again": "Try again",
    "problem.400": "There is no such page",
    "problem.400.about": "Page numbers start at 1.",
    "problem.401": "You are not signed in",
    "problem.401.about": "Sign in to see your devices. If you were signed in, that session has ended.",
    "problem.403": "Nothing was done",
    "problem.403.about": "The request came from another site, or the page was out of date. Please try again.",
    "problem.stale": "Please sign in again first",
    "problem.stale.about": "You signed in a while ago. Sign out and in again here; then you can end other sessions.",
    "problem.404": "There is no such session",
    "problem.404.about": "It may have ended already.",
    "problem.406": "This is a page for people",
    "problem.406.about": "It only asks before a session ends. Programs send POST to the same address.",
    "problem.429": "Too many open pages",
    "problem.429.about": "Close some of them. This page works, but it does not update itself.",
    "problem.503": "We cannot check who you are right now",
    "problem.503.about": "The database does not answer. Nobody was signed out. Please try again in a moment.",
    "now": "just now",
    "minute.one": "1 minute ago",
    "minute.many": "{count} minutes ago",
    "hour.one": "1 hour ago",
    "hour.many": "{count} hours ago",
    "day.one": "1 day ago",
    "day.many": "{count} days ago",
    "date": "on {day} {month} {year}",
    "months": "January February March April May June July August September October November December",
}

GERMAN: Final[Mapping[str, str]] = {
    "title": "Ihre Geräte",
    "skip": "Zum Inhalt",
    "lead.one": "Sie sind nur auf diesem Gerät angemeldet.",
    "lead.many": "Sie sind auf {count} Geräten angemeldet. Wenn Sie eines nicht kennen, beenden Sie dessen Sitzung.",
    "empty": "Auf dieser Seite sind keine Sitzungen.",
    "this device": "Dieses Gerät",
    "active now": "Jetzt aktiv",
    "active": "Zuletzt aktiv {when}",
    "signed in": "Angemeldet {when}",
    "no address": "Unbekannte Adresse",
    "desktop": "Computer",
    "mobile": "Telefon",
    "tablet": "Tablet",
    "tv": "Fernseher",
    "console": "Spielkonsole",
    "program": "Programm",
    "bot": "Bot",
    "unknown": "Unbekannte Art von Gerät",
    "end": "Sitzung beenden",
    "sign out": "Abmelden",
    "end others": "Alle anderen Sitzungen beenden",
    "end others.do": "Andere beenden",
    "end others.about": "Alle anderen Geräte müssen sich neu anmelden. Hier bleiben Sie angemeldet.",
    "everywhere": "Überall abmelden",
    "everywhere.do": "Alle abmelden",
    "everywhere.about": "Alle Geräte müssen sich neu anmelden, auch dieses.",
    "confirm end": "Diese Sitzung beenden?",
    "confirm end.about": "Das Gerät wird sofort abgemeldet. Dort ist danach eine neue Anmeldung nötig.",
    "confirm end.do": "Sitzung beenden",
    "confirm sign out": "Auf diesem Gerät abmelden?",
    "confirm sign out.about": "Ihre anderen Geräte bleiben angemeldet.",
    "confirm sign out.do": "Abmelden",
    "confirm others": "Alle anderen Sitzungen beenden?",
    "confirm others.about": "Alle anderen Geräte müssen sich neu anmelden. Hier bleiben Sie angemeldet.",
    "confirm others.do": "Andere beenden",
    "confirm everywhere": "Überall abmelden?",
    "confirm everywhere.about": "Alle Geräte müssen sich neu anmelden, auch dieses.",
    "confirm everywhere.do": "Überall abmelden",
    "cancel": "Abbrechen",
    "pages": "Seiten",
    "page": "Seite {page} von {pages}",
    "newer": "Zurück",
    "older": "Weiter",
    "notice.ended": "Die Sitzung wurde beendet. Das Gerät ist abgemeldet.",
    "notice.others": "Alle anderen Sitzungen wurden beendet.",
    "changed": "Die Liste Ihrer Geräte hat sich geändert.",
    "gone": "Sie sind auf diesem Gerät abgemeldet",
    "gone.about": "Diese Sitzung wurde beendet. Wenn Sie das nicht waren, ändern Sie Ihr Passwort.",
    "gone.expired": (
        "Diese Sitzung ist abgelaufen: Sie wurde eine Weile nicht benutzt, oder ihre Höchstdauer ist erreicht."
    ),
    "gone.unknown": "Diese Sitzung ist vorbei: Sie wurde beendet, oder sie ist abgelaufen.",
    "sign in": "Neu anmelden",
    "back": "Zurück zu Ihren Geräten",
    "again": "Noch einmal versuchen",
    "problem.400": "Diese Seite gibt es nicht",
    "problem.400.about": "Die Seitenzahlen beginnen bei 1.",
    "problem.401": "Sie sind nicht angemeldet",
    "problem.401.about": "Melden Sie sich an, um Ihre Geräte zu sehen. Eine frühere Sitzung ist beendet.",
    "problem.403": "Es wurde nichts getan",
    "problem.403.about": "Die Anfrage kam von woanders, oder die Seite war veraltet. Bitte noch einmal versuchen.",
    "problem.stale": "Bitte melden Sie sich erst neu an",
    "problem.stale.about": (
        "Ihre Anmeldung ist eine Weile her. Melden Sie sich hier ab und wieder an, dann können Sie andere Sitzungen "
        "beenden."
    ),
    "problem.404": "Diese Sitzung gibt es nicht",
    "problem.404.about": "Vielleicht ist sie schon beendet.",
    "problem.406": "Diese Seite ist für Menschen",
    "problem.406.about": "Sie fragt nur, bevor eine Sitzung endet. Programme schicken POST an dieselbe Adresse.",
    "problem.429": "Zu viele offene Seiten",
    "problem.429.about": "Schließen Sie einige davon. Diese Seite geht, erneuert sich aber nicht von selbst.",
    "problem.503": "Wir können gerade nicht prüfen, wer Sie sind",
    "problem.503.about": "Die Datenbank antwortet nicht. Niemand wurde abgemeldet. Bitte gleich noch einmal versuchen.",
    "now": "gerade eben",
    "minute.one": "vor 1 Minute",
    "minute.many": "vor {count} Minuten",
    "hour.one": "vor 1 Stunde",
    "hour.many": "vor {count} Stunden",
    "day.one": "vor 1 Tag",
    "day.many": "vor {count} Tagen",
    "date": "am {day}. {month} {year}",
    "months": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
}

OURS: Final[Texts] = {"en": ENGLISH, "de": GERMAN}

_MONTH = timedelta(days=30)
_UNITS = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))


class Translation:
    """The texts in one language: ``translation("active", when=…)`` fills a text's gaps and escapes it for HTML."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        """Take the texts of a language; English fills in for those that it lacks."""
        self.language = language
        self._texts = {**ENGLISH, **texts}

    def __call__(self, key: str, **values: object) -> Markup:
        """Return a text with its gaps filled; escape the values that are not Markup."""
        return escape(self._texts[key]).format(**values)

    def plain(self, key: str) -> str:
        """Return a text for JSON: without gaps, and not escaped."""
        return self._texts[key]

    def count(self, key: str, count: int) -> Markup:
        """Return a text in its singular or plural form."""
        return self(f"{key}.{'one' if count == 1 else 'many'}", count=count)

    def ago(self, instant: datetime, now: datetime) -> Markup:
        """Return a span like "2 hours ago"; a date, if it is longer than 30 days."""
        span = now - instant
        if span > _MONTH:
            month = self._texts["months"].split()[instant.month - 1]
            return self("date", day=instant.day, month=month, year=instant.year)
        for name, unit in _UNITS:
            if span >= unit:
                return self.count(name, span // unit)
        return self("now")


def translations(texts: Texts | None) -> dict[str, Translation]:
    """
    Return the texts by language, with those of the application; the first language is the default.

    Raises:
        ConfigError: a text of the application has an unknown key, a wrong type or an unknown gap.

    """
    merged = {language: dict(ours) for language, ours in OURS.items()}
    for language, own in (texts or {}).items():
        for key, text in own.items():
            _check(language, key, text)
        merged.setdefault(language.lower(), {}).update(own)
    return {language: Translation(language, known) for language, known in merged.items()}


def _check(language: str, key: str, text: object) -> None:
    where = f"texts: {language}: {key!r}"
    if key not in ENGLISH:
        message = f"{where}: there is no such text"
        raise ConfigError(message)
    try:
        if not isinstance(text, str):
            raise ValueError(text)  # noqa: TRY004, TRY301 - the same message as for the other mistakes
        text.format_map(dict.fromkeys(("count", "when", "device", "page", "pages", "day", "month", "year"), ""))
        if key == "months" and len(text.split()) != 12:  # noqa: PLR2004 - a year has 12 months
            raise ValueError(text)  # noqa: TRY301 - the same message
    except (ValueError, LookupError, AttributeError) as error:
        message = f"{where}: is no text, or has other gaps than {ENGLISH[key]!r}"
        raise ConfigError(message) from error
