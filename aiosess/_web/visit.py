"""
One request's way through the house: who came in, and which cookie goes out.

A visit is opened before the handler and sealed when the headers are about to go out. In between the manager reads and
changes it.
"""

import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from http import HTTPStatus
from time import monotonic, time
from typing import Any, Final
from uuid import UUID

from aiohttp import hdrs, web

from aiosess import events
from aiosess._check.checker import Checker
from aiosess._client.address import client_ip
from aiosess._client.device import Device, client_digest, describe, origin_of, same_device
from aiosess._postgres.database import Clock
from aiosess._postgres.request_store import RequestStore
from aiosess._postgres.store import Emit
from aiosess._postgres.upkeep import Upkeep
from aiosess._row import Row
from aiosess._token.codec import InvalidToken
from aiosess._token.cookie import Cookie, CookieConflict
from aiosess._token.keys import Keyring
from aiosess._token.reader import KnownToken, TokenReader
from aiosess._token.rotation import (
    ADOPTED,
    Meaning,
    Verdict,
    current_until,
    holder_of,
    is_lease_free,
    judge,
    touch_after,
)
from aiosess._token.token import Token
from aiosess._web.open_connections import Guards
from aiosess.config import SessionConfig
from aiosess.errors import ResponseStarted, SessionNotFound, StoreUnavailable

JUDGEMENTS: Final = range(3)  # a compare-and-set that misses judges again; more often than this, something is wrong


@dataclass(frozen=True, slots=True)
class Services:
    """What ``setup()`` put together for one application."""

    config: SessionConfig
    cookie: Cookie
    clock: Clock
    keyring: Keyring
    reader: TokenReader
    store: RequestStore
    checker: Checker
    upkeep: Upkeep
    guards: Guards
    emit: Emit


@dataclass(frozen=True, slots=True)
class Judged:
    """
    How a token was judged last, kept with the token if it was current and there was nothing to do.

    The same token comes back many times before that changes.

    Attributes:
        row: Returns the row that was judged, while that is held.
        user_agent: The User-Agent that was compared with the session's then.
        until: How long nothing is to be done if the row stays as it is, by the monotonic clock.

    """

    row: weakref.ref[Row]
    user_agent: str
    until: float


class Visit:
    """
    The state of one request.

    Attributes:
        token: The token that was accepted, or made by this request; None: anonymous.
        row: The session's row that goes with it.
        began: When the request came in, by the monotonic clock.
        looked: Whether the response depends on who is asking.

    """

    # Defaults of the class and no slots: four assignments for each request instead of fourteen.
    token: Token | None = None
    row: Row | None = None
    looked = False
    _has_cookie = False
    _late = False
    _mints = False
    _outgoing: str | None = None
    _sealed = False
    _unknown: str | None = None
    _unresolved: KnownToken | None = None

    def __init__(self, services: Services, request: web.BaseRequest) -> None:
        """Nobody has come in yet."""
        self.services = services
        self.headers = request.headers
        # The request holds the manager, which holds this: a strong reference back would be a cycle, and leave every
        # request to the garbage collector.
        self._request = weakref.ref(request)
        self.began = monotonic()

    # Coming in

    def presented(self) -> KnownToken | None:
        """Return the verified token that came with the request, if one did; costs no query."""
        services = self.services
        cookies = self.headers.getall(hdrs.COOKIE, None)
        if cookies is None:
            return None
        try:
            text = services.cookie.read(cookies)
            if text is None:
                return None
            self._has_cookie = True
            return services.reader.read(text)
        except CookieConflict:
            self._has_cookie = True
            services.emit(events.CookieConflicted(at=services.clock.now(), presenter=self.origin()))
        except InvalidToken:
            pass
        return None

    async def admit(self, known: KnownToken) -> None:
        """Check a presented token, judge it if something has changed since it was last judged, and do what follows."""
        token = known.token
        try:
            for _ in JUDGEMENTS:
                row = await self.services.checker.check(token)
                if row is None:
                    return
                user_agent = self.headers.get(hdrs.USER_AGENT, "")
                last: Any = known.note  # a Judged, or None
                if last and row is last.row() and monotonic() < last.until and user_agent == last.user_agent:
                    self.token, self.row = token, row  # all but a few requests
                    return
                if await self._judge(row, known, user_agent):
                    return
                self.services.checker.forget(row.id)
            self._unknown = "the session kept changing under this request"
        except StoreUnavailable as error:
            self._unknown = str(error)
        self._unresolved = known

    async def _judge(self, row: Row, known: KnownToken, user_agent: str) -> bool:
        """Judge a token and do what the verdict asks for; False: the row is no longer what was judged."""
        now, config = self.services.clock.now(), self.services.config
        verdict = judge(row, known.token, now, config)
        if not await self._follow(row, known.token, verdict, now):
            return False
        if verdict.is_steady and self.row is row:
            until = min(current_until(row, config), row.last_active_at + touch_after(row, config))
            known.note = Judged(
                weakref.ref(row),
                # What is equal is kept once: there is one of these for each session.
                row.user_agent if user_agent == row.user_agent else user_agent,
                # The database's clock may be put right meanwhile.
                monotonic() + min(until - now, config.touch_interval).total_seconds(),
            )
        return True

    async def _follow(self, row: Row, token: Token, verdict: Verdict, now: datetime) -> bool:
        """Do what the verdict asks for; False: the row is no longer what was judged."""
        services, meaning = self.services, verdict.meaning
        if meaning is Meaning.INVALID:
            return True
        if meaning is Meaning.REUSE:
            return await services.store.end_reused(row, self.origin())
        if meaning in ADOPTED:
            adopted = await services.store.adopt(row, token, meaning, self.origin())
            if adopted is None:
                return False
            services.checker.hold(adopted)
            row = adopted
        if await self._is_same_browser(row):
            self._accept(row, token, verdict, now)
        return True

    def _accept(self, row: Row, token: Token, verdict: Verdict, now: datetime) -> None:
        self.token, self.row = token, row
        self._mints, self._late = verdict.mints, verdict.meaning is Meaning.LATE
        if verdict.settles:
            self.services.upkeep.settle(row.id, now, token.id)
        elif now - row.last_active_at >= touch_after(row, self.services.config):
            self.services.upkeep.touch(row.id, now)

    async def _is_same_browser(self, row: Row) -> bool:
        """Compare the kind of browser with the session's; False: it differs, and the session was ended for it."""
        config = self.services.config
        if config.fingerprint == "off" or same_device(self.headers.get(hdrs.USER_AGENT), row.user_agent):
            return True
        device = self.device()
        if device.fingerprint == row.fingerprint:
            return True  # noted when it changed
        if config.fingerprint == "report":
            changed = await self.services.store.refingerprint(row, device.fingerprint, self.origin())
            if changed is not None:
                self.services.checker.hold(changed)
            return True
        with suppress(SessionNotFound):  # a parallel request has ended it, and told
            await self.services.store.revoke_own(row.id, row.user_id, "fingerprint")
            at = self.services.clock.now()
            self.services.emit(events.FingerprintChanged.of(row, at, presenter=self.origin()))
        self.services.checker.bury(row.id)
        return False

    # Between

    async def resolve(self) -> None:
        """
        Ask again who has come in, if that is unknown.

        Raises:
            StoreUnavailable: it still is.

        """
        known, self._unresolved = self._unresolved, None
        if known is not None:
            await self.admit(known)
            # Not before: until then nobody may be taken for anonymous.
            self._unknown = None if self._unresolved is None else self._unknown
        self.look()

    def look(self) -> None:
        """
        Note that the response depends on who is asking.

        Raises:
            StoreUnavailable: that is unknown.

        """
        self.looked = True
        if self._unknown is not None:
            raise StoreUnavailable(self._unknown)

    @property
    def is_late(self) -> bool:
        """Whether the token was already retired, so that nothing may rely on a recent authentication."""
        return self._late

    @property
    def is_sealed(self) -> bool:
        """Whether the headers of a response are out."""
        return self._sealed

    def check_not_sealed(self) -> None:
        """Refuse to change the session's cookie once the headers are out."""
        if self._sealed:
            raise ResponseStarted

    def enter(self, row: Row, token: Token) -> None:
        """Sign in with a token that this request made, and send it."""
        services = self.services
        services.checker.hold(row)
        self.token, self.row = token, row
        self._mints = self._late = False
        self.looked = True
        self._outgoing = self._cookie_with(token)

    def update(self, row: Row) -> None:
        """Go on with the row that a write has returned; what it has become since it was judged is due for nothing."""
        self.services.checker.hold(row)
        before = self.row
        if before is None or row.id != before.id or row.revision < before.revision:
            return  # a parallel call of this request has ended or replaced the session, or knows more
        if (row.token_id, row.settled_at) != (before.token_id, before.settled_at):
            self._mints = False
        if not compare_digest(row.secret_hash, before.secret_hash):
            self._late = True  # whatever was proved since was proved by who has the new one
        self.row = row

    def end(self, session_id: UUID) -> None:
        """Note that a session has ended; if it is still the request's own, go on as anonymous."""
        self.services.checker.bury(session_id)
        if self.row is not None and self.row.id == session_id:
            self.lose()

    def lose(self) -> None:
        """Go on as anonymous: the session may live, but the token that came is dead."""
        self.token = self.row = None
        self._mints = False

    def clear(self) -> None:
        """Send the deletion of the cookie, if one came or was about to be sent."""
        if self._has_cookie or self._outgoing is not None:
            self._outgoing = self.services.cookie.clear()

    def device(self) -> Device:
        """Return what the User-Agent says."""
        return describe(self.headers.get(hdrs.USER_AGENT))

    def ip(self) -> str | None:
        """Return the client's address, through trusted proxies only."""
        request = self._request()
        forwarded = self.headers.getall("X-Forwarded-For", ())
        return client_ip(None if request is None else request.remote, forwarded, self.services.config.trusted_networks)

    def client(self) -> str:
        """Return the digest of the client that asks."""
        return client_digest(self.ip(), self.device().user_agent)

    def origin(self) -> events.Origin:
        """Return where this request comes from."""
        return origin_of(self.ip(), self.headers.get(hdrs.USER_AGENT))

    # Going out

    def seal(self) -> bool:
        """Allow no more changes of the cookie, and say whether there may be one to send."""
        self._sealed = True
        return self._outgoing is not None or self._mints

    async def outgoing(self, response: web.StreamResponse) -> str | None:
        """
        Return the Set-Cookie value that goes out with the response, if any.

        A token that was presented is never sent again, and a cookie is never
        deleted in passing: any request may have been in flight during a login,
        and must not touch the new cookie.
        """
        if self._outgoing is not None:
            return self._outgoing
        if self._mints and self.row is not None and self.token is not None and _may_mint(self.headers, response):
            return await self._mint(self.row, self.token)
        return None

    async def _mint(self, row: Row, token: Token) -> str | None:
        """Sign a successor, if the lease is free; the database learns of it when a client first presents it."""
        services, now = self.services, self.services.clock.now()
        if not any(is_lease_free(row, now, is_holder=each) for each in (True, False)):
            return None  # whoever it is, which takes longer to find out
        client = self.client()
        is_holder = client == (holder_of(row) or client_digest(row.ip, row.user_agent))
        if not is_lease_free(row, now, is_holder=is_holder):
            return None
        try:
            leased = await services.store.lease(row, token, client, is_holder=is_holder)
        except StoreUnavailable:
            return None  # a later response mints
        if leased is None:
            return None
        self.update(leased)
        return self._cookie_with(token.successor())

    def _cookie_with(self, token: Token) -> str:
        services = self.services
        text = services.keyring.sign(token, services.config.audience)
        remember = self.row is not None and self.row.remember
        return services.cookie.write(text, max(0, token.expires_at - int(time())) if remember else None)


def _may_mint(headers: Mapping[str, str], response: web.StreamResponse) -> bool:
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or "Sec-Purpose" in headers:
        return False
    cache_control = response.headers.get(hdrs.CACHE_CONTROL, "").lower()
    return "public" not in cache_control and "immutable" not in cache_control
