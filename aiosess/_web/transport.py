"""How the session's token travels: read from the Cookie header, sent in Set-Cookie, deleted by logout."""

import logging

from aiohttp import web
from aiohttp.hdrs import COOKIE, SET_COOKIE

from aiosess import events
from aiosess._log_limit import LogLimit
from aiosess._postgres.clock import Clock
from aiosess._signals import Signals
from aiosess._token.codec import InvalidToken
from aiosess._token.cookie import Cookie, CookieConflict, TooManyCookies
from aiosess._token.keys import Keyring
from aiosess._token.reader import KnownToken, TokenReader
from aiosess._token.token import Token
from aiosess._token.version_cookie import encode_version
from aiosess._web.caching import forbid_caching
from aiosess._web.outgoing import Outgoing
from aiosess._web.visit import Visit
from aiosess.config import SessionConfig

log = logging.getLogger("aiosess")


class CookieTransport:
    """Reads and writes the session cookie of one installation."""

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        cookie: Cookie,
        keyring: Keyring,
        signals: Signals,
        clock: Clock,
        config: SessionConfig,
        limit: LogLimit,
    ) -> None:
        """Use this cookie, sign with these keys, and tell of conflicts as far as the limit allows."""
        self._cookie, self._read_lone = cookie, cookie.read_lone
        self._version_cookie = cookie.of_version()
        self._version_name = self._version_cookie.name
        self._keyring = keyring
        self._reader = TokenReader(keyring, config.audience, config.max_held_sessions, clock)
        self._read_token = self._reader.read
        self._signals = signals
        self._clock = clock
        self._config = config
        self._limit = limit

    def read(self, visit: Visit) -> KnownToken | None:
        """Return the verified token that the request brought, if it did; costs no query."""
        cookies = visit.headers.getall(COOKIE, None)
        if cookies is None:
            return None
        try:
            text = self._read_lone(cookies)
            if text is not None:
                return self._read_token(text)
            text = self._cookie.read(cookies)
            if text is None:
                return None
            for header in cookies:
                if self._version_name in header:
                    return self._reader.read_newest(text, self._version_cookie.read(cookies) or "")
            return self._read_token(text)
        except CookieConflict:
            self._tell_conflict(visit)
        except TooManyCookies:
            if self._limit.allows("more than 16 kB of cookies", at_most=1):
                log.warning("a request with more than 16 kB of Cookie headers was taken as anonymous")
        except InvalidToken:
            pass
        return None

    def _tell_conflict(self, visit: Visit) -> None:
        # Anybody can cause these, and describing the client costs far more than the rest of the request.
        if self._limit.allows("two different session cookies"):
            presenter = visit.caller(self._config.trusted_networks).origin
            self._signals.happened.send(events.CookieConflicted(at=self._clock.now(), presenter=presenter))

    def send_token(self, visit: Visit, token: Token, *, remember: bool) -> None:
        """Send a token with the response, and a version cookie if the token ends with the browser."""
        text = self._keyring.sign(token, self._config.audience)
        max_age = max(1, token.expires_at - int(self._clock.now().timestamp()))
        visit.send(self._cookie.name, self._cookie.write(text, max_age if remember else None))
        if token.version == 1:  # a login: no older token of the session can come back, and what is there is another's
            self._delete(self._version_cookie, visit)
        elif not remember:
            version = encode_version(token, self._keyring.version_keys[0])
            visit.send(self._version_name, self._version_cookie.write(version, max_age))

    def delete_cookie(self, visit: Visit) -> None:
        """Send the deletion of each cookie, if the request brought one, good or bad, or one was about to be sent."""
        self._delete(self._cookie, visit)
        self._delete(self._version_cookie, visit)

    def _delete(self, cookie: Cookie, visit: Visit) -> None:
        is_outgoing = visit.outgoing is not None and cookie.name in visit.outgoing.cookies
        if is_outgoing or self._is_presented(cookie, visit):
            visit.send(cookie.name, cookie.clear())

    def _is_presented(self, cookie: Cookie, visit: Visit) -> bool:
        try:
            return cookie.read(visit.headers.getall(COOKIE, ())) is not None
        except (CookieConflict, TooManyCookies):
            return True


def write_cookies(outgoing: Outgoing, response: web.StreamResponse) -> None:
    """Put the cookies into the headers of a response that no cache may keep."""
    # An application may share one dict of headers between responses: our cookie would go out with the others too.
    response._headers = response.headers.copy()  # noqa: SLF001 - there is no public way
    for header in outgoing.cookies.values():
        response.headers.add(SET_COOKIE, header)
    outgoing.waits = False
    forbid_caching(response)
