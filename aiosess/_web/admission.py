"""Finds out who sent a request: checks the token with PostgreSQL, judges it, and follows the verdict."""

import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import Final

from aiohttp.hdrs import USER_AGENT

from aiosess import events
from aiosess._check.checker import Checker
from aiosess._client.device import same_device
from aiosess._postgres.clock import Clock
from aiosess._postgres.endings import Endings
from aiosess._postgres.rows import Rows
from aiosess._postgres.upkeep import Upkeep
from aiosess._row import Row
from aiosess._signals import Signals
from aiosess._token.reader import KnownToken
from aiosess._token.rotation import ADOPTED, Meaning, Verdict, current_until, judge, touch_after
from aiosess._token.token import Token
from aiosess._web.visit import Unknown, Visit
from aiosess.config import SessionConfig
from aiosess.errors import SessionNotFound, StoreUnavailable

MAX_JUDGEMENTS: Final = 3  # a compare-and-set that misses judges again; more often than this, something is wrong
_TRIES: Final = range(MAX_JUDGEMENTS)
# Characters. Each verified token keeps one of these, and a client may send 8,000: with a longer one, it is judged anew
# at each request.
LONGEST_KEPT_USER_AGENT: Final = 512
_ANONYMOUS: Final = frozenset({Meaning.OUTDATED, Meaning.INVALID})


class _Judged:
    """
    How a token was judged last, kept with the token: most requests find nothing changed, and need no new judgement.

    Attributes:
        row: Returns the row of which it was the current token, with nothing to be done, while that is held.
        until: How long nothing is to be done if the row stays as it is, by the monotonic clock.
        user_agent: The User-Agent that was compared with the session's then.

    """

    __slots__ = ("row", "until", "user_agent")

    def __init__(self, row: Callable[[], Row | None], until: float, user_agent: str) -> None:
        self.row = row
        self.until = until
        self.user_agent = user_agent


_NOT_JUDGED: Final = _Judged(lambda: None, 0.0, "")


class Admission:
    """Admits requests of one installation."""

    def __init__(  # noqa: PLR0913 - the collaborators, by name
        self,
        *,
        checker: Checker,
        rows: Rows,
        endings: Endings,
        upkeep: Upkeep,
        signals: Signals,
        clock: Clock,
        config: SessionConfig,
    ) -> None:
        """Check with ``checker``, and do what verdicts ask for with the rest."""
        self._checker = checker
        self._rows = rows
        self._endings = endings
        self._upkeep = upkeep
        self._signals = signals
        self._clock = clock
        self._config = config

    async def admit(self, visit: Visit, known: KnownToken) -> None:
        """Check a presented token, and judge it if something has changed since it was last judged."""
        token = known.token
        try:
            for _ in _TRIES:
                row = await self._checker.check(token)
                if row is None:
                    return
                judged: _Judged = known.note or _NOT_JUDGED  # type: ignore[assignment]  # only this class writes notes
                user_agent = visit.headers.get(USER_AGENT, "")
                if row is judged.row() and monotonic() < judged.until and user_agent == judged.user_agent:
                    visit.token, visit.row = token, row  # all but a few requests
                    return
                if await self._judge(visit, row, known, user_agent):
                    return
                self._checker.forget(row.id)
            visit.unknown = Unknown("the session kept changing under this request", known)
        except StoreUnavailable as error:
            visit.unknown = Unknown(str(error), known)

    async def resolve(self, visit: Visit) -> None:
        """
        Check again who sent the request, if that is unknown.

        Raises:
            StoreUnavailable: it still is.

        """
        unknown = visit.unknown
        if unknown is not None and unknown.token is not None:
            await self.find_out(visit, unknown.token)
        visit.require_known()

    async def find_out(self, visit: Visit, known: KnownToken | None) -> None:
        """Check a request whose sender is unknown; it may stay so, and ``visit.unknown`` then says why."""
        unknown = visit.unknown
        if known is not None:
            await self.admit(visit, known)
        # Only now, if nothing new is unknown: until then the request must not be taken for anonymous.
        visit.unknown = None if visit.unknown is unknown else visit.unknown

    async def _judge(self, visit: Visit, row: Row, known: KnownToken, user_agent: str) -> bool:
        """Judge a token and follow the verdict; False: the row is no longer as it was judged."""
        now, config = self._clock.now(), self._config
        verdict = judge(row, known.token, now, config)
        if not await self._follow(visit, row, known.token, verdict, now):
            return False
        if verdict.is_steady and visit.row is row and len(user_agent) <= LONGEST_KEPT_USER_AGENT:
            until = min(current_until(row, config), row.last_active_at + touch_after(row, config))
            # The database's clock may be put right meanwhile.
            seconds = min(until - now, config.touch_interval).total_seconds()
            # Equal texts are kept once: there is one of these for each session.
            kept = row.user_agent if user_agent == row.user_agent else user_agent
            known.note = _Judged(weakref.ref(row), monotonic() + seconds, kept)
        return True

    async def _follow(self, visit: Visit, row: Row, token: Token, verdict: Verdict, now: datetime) -> bool:
        """Adopt the token, end the session or accept it; False: the row is no longer as it was judged."""
        meaning = verdict.meaning
        if meaning in _ANONYMOUS:
            visit.refuse(row.id)
            if meaning is Meaning.OUTDATED:
                await self._rows.tell_outdated(row, self._origin(visit))
            return True
        if meaning is Meaning.REUSE:
            return await self._rows.end_reused(row, self._origin(visit))
        if meaning in ADOPTED:
            adopted = await self._rows.adopt(row, token, self._origin(visit), went_back=meaning is Meaning.AHEAD)
            if adopted is None:
                return False
            row = adopted
        if await self._is_same_browser(visit, row):
            visit.accept(row, token, is_late=meaning is Meaning.LATE, mints=verdict.mints)
            self._mark(visit, row, token, now, settles=verdict.settles)
        return True

    def _mark(self, visit: Visit, row: Row, token: Token, now: datetime, *, settles: bool) -> None:
        if settles:
            self._upkeep.settle(row.id, now, token.id, is_activity=not visit.is_background)
        elif not visit.is_background and now - row.last_active_at >= touch_after(row, self._config):
            self._upkeep.touch(row.id, now)
        elif not row.is_presented:
            self._upkeep.present(row.id, now)

    async def _is_same_browser(self, visit: Visit, row: Row) -> bool:
        """Compare the kind of browser with the session's; False: it differs, and the session was ended for it."""
        fingerprint = self._config.fingerprint
        if fingerprint == "off" or same_device(visit.headers.get(USER_AGENT), row.user_agent):
            return True
        caller = visit.caller(self._config.trusted_networks)
        if caller.device.fingerprint == row.fingerprint:
            return True  # noted when it changed
        if fingerprint == "report":
            await self._rows.refingerprint(row, caller.device.fingerprint, caller.origin)
            return True
        with suppress(SessionNotFound):  # a parallel request has ended it, and told
            await self._endings.revoke(row.id, row.user_id, "fingerprint")
            at = self._clock.now()
            self._signals.happened.send(events.FingerprintChanged.of(row, at, presenter=caller.origin))
        return False

    def _origin(self, visit: Visit) -> events.Origin:
        return visit.caller(self._config.trusted_networks).origin
