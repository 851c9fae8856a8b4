"""``request["sessions"]``: what an application does with the session of one request."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, overload
from uuid import UUID

from aiohttp import web
from uuid_utils.compat import uuid7

from aiosess._postgres.clock import Clock
from aiosess._postgres.endings import Endings, as_uuid
from aiosess._postgres.exact_json import check_key, check_step, check_user_id, encode_data, encode_patch
from aiosess._postgres.login import Login, Logins
from aiosess._postgres.rows import Rows
from aiosess._row import Row, session_of
from aiosess._token import form_token
from aiosess._token.token import Token, new_token
from aiosess._web.admission import Admission
from aiosess._web.open_connections import OpenConnections
from aiosess._web.transport import CookieTransport
from aiosess._web.visit import NOT_CHECKED, Visit
from aiosess.config import SessionConfig
from aiosess.errors import InvalidData, SessionNotFound, SessionRevoked
from aiosess.session import Session, SessionPage
from aiosess.store import SessionStore

log = logging.getLogger("aiosess")

P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D")

_TYPE: Final = type  # get() has a parameter of this name


@dataclass(frozen=True, slots=True)
class Collaborators:
    """
    The parts of an installation that managers call; ``Installation`` makes them once.

    Attributes:
        form_keys: The keys of form tokens; the first one makes them, all verify.

    """

    admission: Admission
    transport: CookieTransport
    open_connections: OpenConnections
    store: SessionStore
    rows: Rows
    logins: Logins
    endings: Endings
    clock: Clock
    form_keys: tuple[bytes, ...]
    config: SessionConfig


def _one_at_a_time(
    method: Callable[Concatenate["SessionManager", P], Awaitable[T]],
) -> Callable[Concatenate["SessionManager", P], Coroutine[Any, Any, T]]:
    """Let the sign-ins and sign-outs of one request run one after another, when the handler starts several at once."""

    @wraps(method)
    async def alone(self: "SessionManager", /, *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._changing():
            return await method(self, *args, **kwargs)

    return alone


class SessionManager:
    """
    The session of one request.

    Reads are plain attributes; whatever touches the database is awaited. Every
    attribute and method raises ``StoreUnavailable`` when PostgreSQL did not
    answer: who is asking is then unknown, and nobody is taken for anonymous.
    """

    __slots__ = ("_call", "_lock", "_seen", "_visit")

    def __init__(self, visit: Visit, collaborators: Collaborators) -> None:
        """Read and change the state of one request."""
        self._visit = visit
        self._call = collaborators

    def __repr__(self) -> str:
        """Show whether somebody is signed in, and no id."""
        return f"<SessionManager {'signed in' if self._visit.row else 'anonymous'}>"

    @_one_at_a_time
    async def check(self) -> None:
        """
        Check the request on a route that is not checked: ``@aiosess.unchecked`` or static files.

        Elsewhere it does nothing, so that a middleware can rely on it everywhere. Until then every other attribute and
        method raises ``NotChecked`` on such a route. If PostgreSQL does not answer, they raise ``StoreUnavailable``.
        """
        visit, call = self._visit, self._call
        if visit.unknown is NOT_CHECKED:
            await call.admission.find_out(visit, call.transport.read(visit))

    # The signed-in user

    @property
    def user_id(self) -> str | None:
        """The signed-in user's id as the application gave it, or None."""
        self._visit.require_known()
        row = self._visit.row
        return None if row is None else row.user_id

    @property
    def is_authenticated(self) -> bool:
        """Whether somebody is signed in."""
        return self.user_id is not None

    def is_fresh(self, within: timedelta) -> bool:
        """
        Say whether the user proved who they are no longer than ``within`` ago (ASVS 5.0, 7.5.1).

        False when nobody is signed in, and for a token that was replaced less
        than ``late_window`` before it arrived: it may have been sent before the
        proof.
        """
        self._visit.require_known()
        row = self._visit.row
        if row is None or self._visit.is_late:
            return False
        return self._call.clock.now() - row.authenticated_at <= within

    @property
    def current(self) -> Session | None:
        """The current session's record, or None."""
        self._visit.require_known()
        row = self._visit.row
        if row is None:
            return None
        seen: tuple[Row, Session] | None = getattr(self, "_seen", None)  # few requests need it, and no other pays
        if seen is None or seen[0] is not row:
            seen = self._seen = (row, session_of(row, is_current=True))
        return seen[1]

    @property
    def form_token(self) -> str:
        """
        The text that a form must carry as ``csrf_token``, or a script as ``X-CSRF-Token``; empty for nobody.

        It belongs to the session and survives the rotation of its token.
        """
        self._visit.require_known()
        row = self._visit.row
        return "" if row is None else form_token.form_token(self._call.form_keys[0], row.id)

    # The session's data

    @overload
    def get(self, key: str, type: None = None, *, default: Any = None) -> Any: ...  # noqa: ANN401 - the contract's name; any JSON value

    @overload
    def get(self, key: str, type: type[T], *, default: None = None) -> T | None: ...

    @overload
    def get(self, key: str, type: type[T], *, default: D) -> T | D: ...

    def get(self, key: str, type: type[Any] | None = None, *, default: Any = None) -> Any:  # noqa: A002 - the contract's name
        """
        Return a value of the session's data, or ``default``.

        It returns ``default`` when nobody is signed in, when the key is absent,
        or when the value is not of ``type``, which is also logged. The value is
        the request's own: changing it in place changes nothing in the session.

        Raises:
            TypeError: ``type`` is no class. A default has to be named: ``get("cart", default=[])``.

        """
        if type is not None and not isinstance(type, _TYPE):
            message = f"{type!r} is no class that get() could compare with; a default is get(key, default=…)"
            raise TypeError(message)
        if key not in self:
            return default
        value = self._data[key]
        if type is None or _is_of(value, type):
            return value
        if value is not None:
            log.warning("session data %r is %s, not %s", key, value.__class__.__name__, type.__name__)
        return default

    def __contains__(self, key: object) -> bool:
        """Say whether the session's data has a key; it has none when nobody is signed in."""
        return key in self._data

    async def set(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """
        Set one key of the session's data, persisted at once; requests that set different keys both win.

        Raises:
            NotAuthenticated: nobody is signed in.
            InvalidData: the key or value cannot be kept exactly, or the data would be too large.
            SessionRevoked: the session ended while this request ran.
            StoreUnavailable: PostgreSQL does not answer; the value may or may not be set.

        """
        self._visit.require()
        await self._patch({check_key(key): value})

    async def update(self, values: Mapping[str, Any]) -> None:
        """
        Set several keys of the session's data, all or none, persisted at once; other keys stay as they are.

        Raises:
            NotAuthenticated: nobody is signed in.
            InvalidData: a key or value cannot be kept exactly, or the data would be too large.
            SessionRevoked: the session ended while this request ran.
            StoreUnavailable: PostgreSQL does not answer; the values may or may not be set.

        """
        self._visit.require()
        await self._patch(values)

    async def increment(self, key: str, by: int = 1) -> int:
        """
        Add to an int of the session's data, and return the sum; an absent key counts from 0.

        PostgreSQL adds, so requests that count at the same time, on any
        process, all count.

        Args:
            key: Of the value.
            by: What to add: an int within 64 bits, negative to subtract.

        Raises:
            NotAuthenticated: nobody is signed in.
            InvalidData: the value is no int, the key or ``by`` cannot be, or the data would be too large.
            SessionRevoked: the session ended while this request ran.
            StoreUnavailable: PostgreSQL does not answer; it may or may not have counted. It never counts twice.

        """
        row = self._visit.require()
        counted = await self._call.rows.increment(row.id, check_key(key), check_step(by))
        if counted is None:
            before = await self._call.rows.reload(row.id)
            if before is not None and type(json.loads(before.data).get(key, 0)) is not int:
                message = "the value is no int: nothing can be added to it"
                raise InvalidData(message)
            self._require_ended(before)
        total: int = json.loads(self._go_on(row.id, counted).data)[key]
        return total

    async def remove_key(self, key: str) -> None:
        """
        Remove one key of the session's data, persisted at once; an absent key is no error.

        Raises:
            NotAuthenticated: nobody is signed in.
            InvalidData: no value can have this key.
            SessionRevoked: the session ended while this request ran.
            StoreUnavailable: PostgreSQL does not answer; the key may or may not be there.

        """
        row = self._visit.require()
        changed = await self._call.rows.remove_key(row.id, check_key(key))
        if changed is None:
            await self._call.rows.reload(row.id)
        self._go_on(row.id, changed)

    # Signing in and out

    @_one_at_a_time
    async def authenticate(
        self,
        user_id: str,
        *,
        data: Mapping[str, Any] | None = None,
        remember: bool = True,
        idle_timeout: timedelta | None = None,
        absolute_timeout: timedelta | None = None,
    ) -> None:
        """
        Sign a user in: a new session with a new id; the request's earlier session ends (ASVS 5.0, 7.2.4).

        The earlier session ends even if the request brought an old token of it
        that is no longer accepted, provided that it is the same user's. Sessions
        beyond ``max_sessions_per_user`` are evicted. The password check is the
        application's.

        Args:
            user_id: The application's own id of the user: text, 1 to 512 bytes, kept exactly.
            data: The session's first data: JSON types, at most ``max_data_bytes``.
            remember: Keep the cookie when the browser closes. If not, ``browser_session_idle_timeout`` applies.
            idle_timeout: End this session after so long without activity, instead of the configured time.
            absolute_timeout: End this session after so long whatever happens, instead of the configured time.

        Raises:
            ConfigError: a limit is not positive, longer than the other allows, or shorter than ``touch_interval``.
            InvalidData: the user id or the data cannot be kept exactly.
            ResponseStarted: the headers are out.
            SessionRevoked: the user's sessions were revoked after this request came in.
            StoreUnavailable: PostgreSQL does not answer; the user is not signed in.

        """
        visit, call = self._visit, self._call
        visit.require_unsealed()
        # The session that the request came with has to end: it must be known which one that is.
        await call.admission.resolve(visit)
        earlier_id = None if visit.token is None else visit.token.session_id
        config = call.config.with_limits(idle_timeout, absolute_timeout, remember=remember)
        token = new_token(uuid7(), 1, call.clock.now() + config.absolute_timeout)
        caller = visit.caller(config.trusted_networks)
        row = await call.logins.authenticate(
            Login(
                token=token,
                user_id=check_user_id(user_id),
                ip=caller.ip,
                device=caller.device,
                data=encode_data({} if data is None else data, config.max_data_bytes),
                idle_timeout=config.idle_timeout,
                absolute_timeout=config.absolute_timeout,
                remember=remember,
                began=visit.began,
                earlier_id=earlier_id,
                presented_id=visit.presented_id,
            )
        )
        if row is None:
            message = "the user's sessions were revoked while this login was under way"
            raise SessionRevoked(message)
        self._sign_in(row, replace(token, expires_at=int(row.ends_at.timestamp())))

    async def authenticate_with(
        self,
        user_id: str,
        data: Mapping[str, Any],
        *,
        remember: bool = True,
        idle_timeout: timedelta | None = None,
        absolute_timeout: timedelta | None = None,
    ) -> None:
        """
        Sign a user in with first data; see ``authenticate()``.

        Raises:
            ConfigError: a limit is not positive, longer than the other allows, or shorter than ``touch_interval``.
            InvalidData: the user id or the data cannot be kept exactly.
            ResponseStarted: the headers are out.
            SessionRevoked: the user's sessions were revoked after this request came in.
            StoreUnavailable: PostgreSQL does not answer; the user is not signed in.

        """
        await self.authenticate(
            user_id, data=data, remember=remember, idle_timeout=idle_timeout, absolute_timeout=absolute_timeout
        )

    @_one_at_a_time
    async def logout(self) -> None:
        """
        End the current session and clear the cookie; nothing happens when nobody is signed in.

        Raises:
            ResponseStarted: the headers are out.
            StoreUnavailable: PostgreSQL does not answer; the session may or may not have ended.

        """
        self._visit.require_known()
        self._visit.require_unsealed()
        row = self._visit.row
        if row is not None:
            try:
                await self._call.endings.revoke(row.id, row.user_id, "logout")
            except SessionNotFound:
                log.debug("the session had already ended at logout")
            self._visit.leave(row.id)
        self._call.transport.delete_cookie(self._visit)

    @_one_at_a_time
    async def logout_all(self) -> None:
        """
        End all sessions of the user and clear the cookie; nothing happens when nobody is signed in.

        Raises:
            ResponseStarted: the headers are out.
            StoreUnavailable: PostgreSQL does not answer; the sessions may or may not have ended.

        """
        self._visit.require_known()
        self._visit.require_unsealed()
        row = self._visit.row
        if row is not None:
            await self._call.endings.revoke_user(row.user_id, None, "logout_all")
            self._visit.leave(row.id)
        self._call.transport.delete_cookie(self._visit)

    @_one_at_a_time
    async def logout_other(self) -> int:
        """
        End all of the user's sessions but this one, and return how many there were (ASVS 5.0, 7.4.3).

        Raises:
            NotAuthenticated: nobody is signed in.
            StoreUnavailable: PostgreSQL does not answer; the sessions may or may not have ended.

        """
        row = self._visit.require_user()
        return await self._call.endings.revoke_user(row.user_id, row.id, "logout_other")

    @_one_at_a_time
    async def revoke(self, session_id: UUID | str) -> None:
        """
        End one session of the same user; ending the current one also clears the cookie.

        Raises:
            NotAuthenticated: nobody is signed in.
            ResponseStarted: it is the current one, and the headers are out.
            SessionNotFound: it is not one of this user's live sessions, or no UUID.
            StoreUnavailable: PostgreSQL does not answer; the session may or may not have ended.

        """
        row = self._visit.require_user()
        if as_uuid(session_id) == row.id:
            self._visit.require_unsealed()
        ended = await self._call.endings.revoke(session_id, row.user_id, "revoke")
        if ended == row.id:
            self._visit.leave(row.id)
            self._call.transport.delete_cookie(self._visit)

    @_one_at_a_time
    async def rotate(self) -> None:
        """
        Give the current session a new token and end the old one at once.

        The session keeps its id and data. Requests still in flight with the old
        token become anonymous; they raise no theft alarm (ASVS 5.0, 7.2.4).
        Connections that it opened end too, those of the user's other tabs
        included; their pages connect again. A request that came with an
        already replaced token cannot rotate.

        Raises:
            NotAuthenticated: nobody is signed in.
            ResponseStarted: the headers are out.
            SessionRevoked: the session ended, or its token was replaced by another request.
            StoreUnavailable: PostgreSQL does not answer.

        """
        await self._rotate(reauthenticated=False)

    @_one_at_a_time
    async def reauthenticated(self) -> None:
        """
        Note that the user has just proved again who they are, and rotate.

        Raises:
            NotAuthenticated: nobody is signed in.
            ResponseStarted: the headers are out.
            SessionRevoked: the session ended, or was rotated by another request, while this one ran.
            StoreUnavailable: PostgreSQL does not answer.

        """
        await self._rotate(reauthenticated=True)

    async def list_my_sessions(self) -> list[Session]:
        """
        Return the user's live sessions, most recently active first; the current one knows that it is.

        No more than 1,000; ``page_my_sessions()`` leads to the others.

        Raises:
            NotAuthenticated: nobody is signed in.
            StoreUnavailable: PostgreSQL does not answer.

        """
        row = self._visit.require_user()
        sessions = await self._call.store.list_for_user(row.user_id)
        return [replace(session, is_current=session.id == row.id) for session in sessions]

    async def page_my_sessions(self, *, limit: int = 50, offset: int = 0) -> SessionPage:
        """
        Return some of the user's live sessions, the current one first, and how many there are, in one query.

        Raises:
            NotAuthenticated: nobody is signed in.
            StoreUnavailable: PostgreSQL does not answer.

        """
        row = self._visit.require_user()
        return await self._call.store.page_for_user(row.user_id, limit=limit, offset=offset, first_id=row.id)

    async def find(self, session_id: UUID | str) -> Session:
        """
        Return one live session of the same user.

        Raises:
            NotAuthenticated: nobody is signed in.
            SessionNotFound: it is not one of this user's live sessions, or no UUID.
            StoreUnavailable: PostgreSQL does not answer.

        """
        row = self._visit.require_user()
        found = await self._call.rows.load(as_uuid(session_id))
        if found is None or found.user_id != row.user_id:
            raise SessionNotFound
        return session_of(found, is_current=found.id == row.id)

    def guard(self, response: web.StreamResponse | None = None) -> AbstractAsyncContextManager[None]:
        """
        End a block with its session: ``async with sessions.guard(response):`` around what an open connection does.

        When the session ends, on any process and for any reason, a
        guarded WebSocket is closed within one second with the code 4001 and
        the message "session ended", which ends its ``receive()``. The task of
        any other block is cancelled inside, and ``SessionRevoked`` leaves the
        block; once the headers of a stream are out, it then ends without its
        end mark. A handler that does not notice the close of its WebSocket is
        cancelled the same way, 5 seconds later. All guarded connections of a
        process cost one query a second (one for each 1,000 sessions); an outage
        of PostgreSQL ends none. They are no activity of the session. When the
        application stops, WebSockets are closed with 1001 and streams are
        cancelled.

        The block also ends when the token of its request no longer counts, a
        WebSocket then with the code 4002 and the message "token replaced":
        within two seconds after ``rotate()`` or ``reauthenticated()`` in another
        request, and, if another client than the session's holder sent it, when
        the token was replaced longer than ``late_window`` ago. The holder's own
        connections go on while the token rotates by itself. After 4002 a page
        connects again, with the cookie that the browser has by then.

        A WebSocket that a page of another origin opened (SameSite does not
        stop a sibling subdomain) is closed with 1008, and the block does not
        begin; ``allowed_origins`` names further origins. ``csrf_protected`` on
        the handler refuses it before the WebSocket opens. Streams have no such
        rule: browsers keep a response from other origins unless the application
        allows them (CORS).

        Args:
            response: A prepared ``WebSocketResponse``, a ``StreamResponse``, or None to raise only.

        Raises:
            NotAuthenticated: nobody is signed in, or a page of another origin opened the WebSocket.
            RuntimeError: the WebSocket is not prepared.
            SessionRevoked: out of the block: the session has ended, or the token no longer counts.
            StoreUnavailable: PostgreSQL does not answer.

        """
        return self._call.open_connections.guard(self._visit, response)

    @property
    def _data(self) -> Mapping[str, Any]:
        session = self.current
        return {} if session is None else session.data

    async def _patch(self, values: Mapping[str, Any]) -> None:
        row = self._visit.require()
        patch = encode_patch(values, self._call.config.max_data_bytes)
        patched = await self._call.rows.patch(row.id, patch)
        if patched is None:
            self._require_ended(await self._call.rows.reload(row.id))
        self._go_on(row.id, patched)

    def _require_ended(self, row: Row | None) -> None:
        """Explain why a write has changed nothing: if the session lives, its data would have become too large."""
        if row is not None:
            message = f"the data would be larger than max_data_bytes ({self._call.config.max_data_bytes})"
            raise InvalidData(message)

    async def _rotate(self, *, reauthenticated: bool) -> None:
        visit, row = self._visit, self._visit.require_user()
        visit.require_unsealed()
        if visit.is_late and not reauthenticated:
            # The token was already replaced: its sender may hold a copy, and would take the session without an alarm.
            visit.become_anonymous()
            raise SessionRevoked
        assert visit.token is not None, "a visit with a row has its token"  # noqa: S101 - for the type checker
        fresh = new_token(row.id, row.version + 1, row.ends_at)
        origin = visit.caller(self._call.config.trusted_networks).origin
        rotated = await self._call.rows.rotate(visit.token, fresh, origin, reauthenticated=reauthenticated)
        if rotated is None:
            visit.become_anonymous()
            raise SessionRevoked
        token = replace(fresh, version=rotated.version)
        self._sign_in(rotated, token)
        self._call.open_connections.follow(visit, rotated, token)

    def _changing(self) -> asyncio.Lock:
        """
        Return the lock of the request's sign-ins and sign-outs.

        If two of them ran at the same time, the cookie of one could go out for the session of the other.
        """
        lock: asyncio.Lock | None = getattr(self, "_lock", None)
        if lock is None:  # few requests need it, and no other pays for it
            lock = self._lock = asyncio.Lock()
        return lock

    def _sign_in(self, row: Row, token: Token) -> None:
        """Go on with a token that this request made, and send it."""
        self._visit.accept(row, token)
        self._call.transport.send_token(self._visit, token, remember=row.remember)

    def _go_on(self, session_id: UUID, row: Row | None) -> Row:
        """Go on with the row that a write has returned, and return it; None: the session has ended."""
        if row is None:
            self._visit.leave(session_id)
            raise SessionRevoked
        self._visit.update(row)
        return row


def internals_of(manager: SessionManager) -> tuple[Visit, Collaborators]:
    """Return what a manager works with, for the parts of aiosess that applications do not see."""
    return manager._visit, manager._call  # noqa: SLF001 - defined here


def _is_of(value: object, kind: type[Any]) -> bool:
    if isinstance(value, bool) and kind is not bool:
        return kind is object  # True is no number here, though Python says so
    return isinstance(value, kind)
