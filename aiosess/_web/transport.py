"""How the session's token travels: read from the Cookie header, sent in Set-Cookie, deleted by logout."""

from time import time

from aiohttp import web
from aiohttp.hdrs import COOKIE, SET_COOKIE

from aiosess import events
from aiosess._postgres.clock import Clock
from aiosess._signals import Signals
from aiosess._token.codec import InvalidToken
from aiosess._token.cookie import Cookie, CookieConflict
from aiosess._token.keys import Keyring
from aiosess._token.reader import KnownToken, TokenReader
from aiosess._token.token import Token
from aiosess._web.caching import forbid_caching
from aiosess._web.visit import Visit
from aiosess.config import SessionConfig


class CookieTransport:
    """Reads and writes the session cookie of one installation."""

    def __init__(self, cookie: Cookie, keyring: Keyring, signals: Signals, clock: Clock, config: SessionConfig) -> None:
        """Use this cookie, sign with these keys, and tell of conflicts."""
        self._cookie = cookie
        self._keyring = keyring
        self._reader = TokenReader(keyring, config.audience, config.max_held_sessions)
        self._signals = signals
        self._clock = clock
        self._config = config

    def read(self, visit: Visit) -> KnownToken | None:
        """Return the verified token that the request brought, if it did; costs no query."""
        cookies = visit.headers.getall(COOKIE, None)
        if cookies is None:
            return None
        try:
            text = self._cookie.read(cookies)
            if text is None:
                return None
            return self._reader.read(text)
        except CookieConflict:
            presenter = visit.caller(self._config.trusted_networks).origin
            self._signals.happened.send(events.CookieConflicted(at=self._clock.now(), presenter=presenter))
        except InvalidToken:
            pass
        return None

    def send_token(self, visit: Visit, token: Token, *, remember: bool) -> None:
        """Send a token with the response."""
        text = self._keyring.sign(token, self._config.audience)
        max_age = max(0, token.expires_at - int(time())) if remember else None
        visit.send(self._cookie.name, self._cookie.write(text, max_age))

    def delete_cookie(self, visit: Visit) -> None:
        """Send the deletion of the cookie, if the request brought one, good or bad, or one was about to be sent."""
        if self._cookie.name in visit.outgoing or self._is_presented(visit):
            visit.send(self._cookie.name, self._cookie.clear())

    def _is_presented(self, visit: Visit) -> bool:
        try:
            return self._cookie.read(visit.headers.getall(COOKIE, ())) is not None
        except CookieConflict:
            return True


def write_cookies(visit: Visit, response: web.StreamResponse) -> None:
    """Put the outgoing cookies into the headers of a response that no cache may keep."""
    # An application may share one dict of headers between responses: our cookie would go out with the others too.
    response._headers = response.headers.copy()  # noqa: SLF001 - there is no public way
    for header in visit.outgoing.values():
        response.headers.add(SET_COOKIE, header)
    forbid_caching(response)
