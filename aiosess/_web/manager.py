"""``request["sessions"]``: what an application does with the session of one request."""

import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from aiohttp import web
from uuid_utils.compat import uuid7

from aiosess._postgres.exact_json import check_user_id, encode_data
from aiosess._postgres.request_store import Login
from aiosess._postgres.store import as_uuid
from aiosess._row import session_of
from aiosess._token import form_token as csrf
from aiosess._token.token import new_token
from aiosess._web.data import SessionData
from aiosess.errors import SessionNotFound, SessionRevoked
from aiosess.session import Session, SessionPage

log = logging.getLogger("aiosess")


class SessionManager(SessionData):
    """
    The session of one request.

    Reads are plain attributes; whatever touches the database is awaited. Every
    attribute and method raises ``StoreUnavailable`` when PostgreSQL did not
    answer: who is asking is then unknown, and nobody is taken for anonymous.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Show whether somebody is signed in, and no id."""
        return f"<SessionManager {'signed in' if self._visit.row else 'anonymous'}>"

    # Who is there

    @property
    def user_id(self) -> str | None:
        """The signed-in user's id as the application gave it, or None."""
        self._visit.look()
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
        self._visit.look()
        row = self._visit.row
        if row is None or self._visit.is_late:
            return False
        return self._visit.services.clock.now() - row.authenticated_at <= within

    @property
    def form_token(self) -> str:
        """
        The text that a form must carry as ``csrf_token``, or a script as ``X-CSRF-Token``; empty for nobody.

        It belongs to the session and survives the rotation of its token.
        """
        self._visit.look()
        row = self._visit.row
        return "" if row is None else csrf.form_token(self._visit.services.keyring.form_keys[0], row.id)

    # Signing in and out

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

        The least recently active sessions beyond ``max_sessions_per_user`` are
        evicted. The password check is the application's.

        Args:
            user_id: The application's own id of the user: text, 1 to 512 bytes, kept exactly.
            data: The session's first data: JSON types, at most ``max_data_bytes``.
            remember: Keep the cookie when the browser closes.
            idle_timeout: End this session after so long without activity, instead of the configured time.
            absolute_timeout: End this session after so long whatever happens, instead of the configured time.

        Raises:
            ConfigError: a limit is not positive, longer than the other allows, or shorter than ``touch_interval``.
            InvalidData: the user id or the data cannot be kept exactly.
            ResponseStarted: the headers are out.
            SessionRevoked: the user's sessions were revoked after this request came in.
            StoreUnavailable: PostgreSQL does not answer; the user is not signed in.

        """
        visit = self._visit
        visit.check_not_sealed()
        # The session that the request came with has to end: it must be known which one that is.
        await visit.resolve()
        earlier_id = None if visit.token is None else visit.token.session_id
        services = visit.services
        config = services.config.with_limits(idle_timeout, absolute_timeout)
        token = new_token(uuid7(), 1, services.clock.now() + config.absolute_timeout)
        row = await services.store.authenticate(
            Login(
                token=token,
                user_id=check_user_id(user_id),
                ip=visit.ip(),
                device=visit.device(),
                data=encode_data({} if data is None else data, config.max_data_bytes),
                idle_timeout=config.idle_timeout,
                absolute_timeout=config.absolute_timeout,
                remember=remember,
                began=visit.began,
                earlier_id=earlier_id,
            )
        )
        if row is None:
            message = "the user's sessions were revoked while this login was under way"
            raise SessionRevoked(message)
        if earlier_id is not None:
            visit.end(earlier_id)
        visit.enter(row, replace(token, expires_at=int(row.ends_at.timestamp())))

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

    async def logout(self) -> None:
        """
        End the current session and clear the cookie; nothing happens when nobody is signed in.

        Raises:
            ResponseStarted: the headers are out.
            StoreUnavailable: PostgreSQL does not answer; the session may or may not have ended.

        """
        self._visit.look()
        self._visit.check_not_sealed()
        row = self._visit.row
        if row is not None:
            try:
                await self._visit.services.store.revoke_own(row.id, row.user_id, "logout")
            except SessionNotFound:
                log.debug("aiosess: the session had already ended at logout")
            self._visit.end(row.id)
        self._visit.clear()

    async def logout_all(self) -> None:
        """
        End all sessions of the user and clear the cookie; nothing happens when nobody is signed in.

        Raises:
            ResponseStarted: the headers are out.
            StoreUnavailable: PostgreSQL does not answer; the sessions may or may not have ended.

        """
        self._visit.look()
        self._visit.check_not_sealed()
        row = self._visit.row
        if row is not None:
            await self._visit.services.store.revoke_others(row.user_id, None, "logout_all")
            self._visit.end(row.id)
        self._visit.clear()

    async def logout_other(self) -> int:
        """
        End all of the user's sessions but this one, and return how many there were (ASVS 5.0, 7.4.3).

        Raises:
            NotAuthenticated: nobody is signed in.
            StoreUnavailable: PostgreSQL does not answer; the sessions may or may not have ended.

        """
        row = self._row()
        return await self._visit.services.store.revoke_others(row.user_id, row.id, "logout_other")

    async def revoke(self, session_id: UUID | str) -> None:
        """
        End one session of the same user; ending the current one also clears the cookie.

        Raises:
            NotAuthenticated: nobody is signed in.
            ResponseStarted: it is the current one, and the headers are out.
            SessionNotFound: it is not one of this user's live sessions, or no UUID.
            StoreUnavailable: PostgreSQL does not answer; the session may or may not have ended.

        """
        row = self._row()
        if as_uuid(session_id) == row.id:
            self._visit.check_not_sealed()
        ended = await self._visit.services.store.revoke_own(session_id, row.user_id, "revoke")
        if ended == row.id:
            self._visit.end(row.id)
            self._visit.clear()

    async def rotate(self) -> None:
        """
        Give the current session a new token and end the old one at once.

        The session keeps its id and data. Requests still in flight with the old
        token become anonymous; they raise no theft alarm (ASVS 5.0, 7.2.4). A
        request that came with an already replaced token cannot rotate.

        Raises:
            NotAuthenticated: nobody is signed in.
            ResponseStarted: the headers are out.
            SessionRevoked: the session ended, or its token was replaced by another request.
            StoreUnavailable: PostgreSQL does not answer.

        """
        await self._rotate(reauthenticated=False)

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

        Raises:
            NotAuthenticated: nobody is signed in.
            StoreUnavailable: PostgreSQL does not answer.

        """
        row = self._row()
        sessions = await self._visit.services.store.list_for_user(row.user_id)
        return [replace(session, is_current=session.id == row.id) for session in sessions]

    async def page_my_sessions(self, *, limit: int = 50, offset: int = 0) -> SessionPage:
        """
        Return some of the user's live sessions, the current one first, and how many there are, in one query.

        Raises:
            NotAuthenticated: nobody is signed in.
            StoreUnavailable: PostgreSQL does not answer.

        """
        row = self._row()
        store = self._visit.services.store
        return await store.page_for_user(row.user_id, limit=limit, offset=offset, first_id=row.id)

    async def find(self, session_id: UUID | str) -> Session:
        """
        Return one live session of the same user.

        Raises:
            NotAuthenticated: nobody is signed in.
            SessionNotFound: it is not one of this user's live sessions, or no UUID.
            StoreUnavailable: PostgreSQL does not answer.

        """
        row = self._row()
        found = await self._visit.services.store.load(as_uuid(session_id))
        if found is None or found.user_id != row.user_id:
            raise SessionNotFound
        return session_of(found, is_current=found.id == row.id)

    def guard(self, response: web.StreamResponse | None = None) -> AbstractAsyncContextManager[None]:
        """
        End a block with its session: ``async with sessions.guard(response):`` around what an open connection does.

        When the session ends, on whatever process and for whatever reason, a
        guarded WebSocket is closed within one second with the code 4001 and
        the message "session ended", which ends its ``receive()``. The task of
        any other block is cancelled inside, and ``SessionRevoked`` leaves the
        block; once the headers of a stream are out, it then ends without its
        end mark. A handler that does not notice the close of its WebSocket is
        cancelled the same way, 5 seconds later. All guarded connections of a
        process cost one query a second; an outage of PostgreSQL ends none.
        They are no activity of the session. When the application stops,
        WebSockets are closed with 1001 and streams are cancelled.

        Args:
            response: A prepared ``WebSocketResponse``, a ``StreamResponse``, or None to raise only.

        Raises:
            NotAuthenticated: nobody is signed in.
            RuntimeError: the WebSocket is not prepared.
            SessionRevoked: out of the block: the session has ended.
            StoreUnavailable: PostgreSQL does not answer.

        """
        return self._visit.services.guards.guard(self._row(), response)

    async def _rotate(self, *, reauthenticated: bool) -> None:
        visit, row = self._visit, self._row()
        visit.check_not_sealed()
        if visit.is_late and not reauthenticated:
            # The token was already replaced: who sent it may hold a copy, and would take the session without an alarm.
            visit.lose()
            raise SessionRevoked
        assert visit.token is not None, "a visit with a row has its token"  # noqa: S101 - for the type checker
        fresh = new_token(row.id, row.version + 1, row.ends_at)
        rotated = await visit.services.store.rotate(visit.token, fresh, visit.origin(), reauthenticated=reauthenticated)
        if rotated is None:
            visit.lose()
            raise SessionRevoked
        visit.enter(rotated, replace(fresh, version=rotated.version))
