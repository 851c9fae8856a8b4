"""The state of one request: who sent it, and which cookies go out with its response."""

from collections.abc import Sequence
from hmac import compare_digest
from time import monotonic
from typing import Final, NamedTuple
from uuid import UUID
from weakref import ref

from aiohttp import hdrs, web

from aiosess._client.address import Proxy
from aiosess._client.caller import Caller
from aiosess._row import Row
from aiosess._token.reader import KnownToken
from aiosess._token.token import Token
from aiosess._web.outgoing import Outgoing
from aiosess.errors import NotAuthenticated, NotChecked, ResponseStarted, StoreUnavailable


class Unknown(NamedTuple):
    """Why it is unknown who sent a request, and the token that is to be checked again."""

    reason: str
    token: KnownToken | None


# Requests to some routes are not checked. They read no cookie until the application asks for a check.
NOT_CHECKED: Final = Unknown("the route is not checked", None)


def _complaint(unknown: Unknown) -> Exception:
    return NotChecked() if unknown is NOT_CHECKED else StoreUnavailable(unknown.reason)


class Visit:
    """
    The state of one request.

    Attributes:
        headers: The request's headers.
        began: When the request was received, by the monotonic clock.
        token: The token that was accepted, or made by this request; None: anonymous.
        row: The session's row that goes with it.
        is_late: Whether the token was already retired, so that nothing may rely on a recent authentication.
        outgoing: What goes out with the response; None: nothing.
        varies: Whether the response depends on who is asking.
        is_background: Whether the request is no activity of the session.
        is_sealed: Whether the headers of a response are out.
        unknown: Set when PostgreSQL did not answer, or was not asked; None: it is known who is asking.

    """

    __slots__ = (
        "_presented_id",
        "_request",
        "began",
        "headers",
        "is_background",
        "is_late",
        "is_sealed",
        "outgoing",
        "row",
        "token",
        "unknown",
        "varies",
    )

    def __init__(self, request: web.BaseRequest) -> None:
        """Start as anonymous."""
        self.headers = request.headers
        # The request holds the manager, which holds this: a strong reference would leave it to the garbage collector.
        self._request = ref(request)
        self.began = monotonic()
        self.token: Token | None = None
        self.row: Row | None = None
        self.unknown: Unknown | None = None
        self.outgoing: Outgoing | None = None
        self.varies = self.is_sealed = self.is_late = self.is_background = False

    @property
    def presented_id(self) -> UUID | None:
        """The session of which the request brought a token that was not accepted; None: of none that lives."""
        return getattr(self, "_presented_id", None)  # not set by __init__(): hardly any request needs it

    def caller(self, trusted: Sequence[Proxy]) -> Caller:
        """Return who sent the request, as these proxies say."""
        request = self._request()
        peer = None if request is None else request.remote
        return Caller(peer, self.headers.getall("X-Forwarded-For", ()), self.headers.get(hdrs.USER_AGENT), trusted)

    # Questions of the handler

    def require_known(self) -> None:
        """
        Note that the response depends on who is asking.

        Raises:
            NotChecked: nobody asked for a check.
            StoreUnavailable: that is unknown.

        """
        self.varies = True
        if self.unknown is not None:
            self.varies = self.unknown is not NOT_CHECKED
            raise _complaint(self.unknown)

    def require(self) -> Row:
        """
        Return the row of the session.

        Raises:
            NotAuthenticated: there is none.
            StoreUnavailable: that is unknown.

        """
        self.require_known()
        if self.row is None:
            raise NotAuthenticated
        return self.row

    def require_user(self) -> Row:
        """
        Return the row of the signed-in user's session.

        Raises:
            NotAuthenticated: nobody is signed in.
            StoreUnavailable: that is unknown.

        """
        return self.require()  # every session has a user

    def require_unsealed(self) -> None:
        """Raise ``ResponseStarted`` once the headers are out: the session's cookie can no longer be changed."""
        if self.is_sealed:
            raise ResponseStarted

    # Changes

    def accept(self, row: Row, token: Token, *, is_late: bool = False, mints: bool = False) -> None:
        """Take the sender for the session's user."""
        self.token, self.row = token, row
        self.is_late = is_late
        self._mint(is_due=mints)

    def refuse(self, session_id: UUID) -> None:
        """Note that the request brought a token of a live session that is not accepted; the sender stays anonymous."""
        self._presented_id: UUID | None = session_id

    def update(self, row: Row) -> None:
        """Go on with the row that a write has returned."""
        before = self.row
        if before is None or row.id != before.id or row.revision < before.revision:
            return  # a parallel call of this request has ended or replaced the session, or has a newer row
        if (row.token_id, row.settled_at) != (before.token_id, before.settled_at):
            self._mint(is_due=False)  # the row's token changed since it was judged: no successor of ours is due
        if not compare_digest(row.secret_hash, before.secret_hash):
            self.is_late = True  # a later password check belongs to the holder of the new secret
        self.row = row

    def leave(self, session_id: UUID) -> None:
        """Go on as anonymous, if the session that has ended is still the request's own."""
        if self.row is not None and self.row.id == session_id:
            self.become_anonymous()

    def become_anonymous(self) -> None:
        """Go on as anonymous: the session may live, but the token that was presented is dead."""
        # A parallel call of this request may have come first.
        self._presented_id = self.presented_id if self.token is None else self.token.session_id
        self.token = self.row = None
        self._mint(is_due=False)

    def send(self, cookie_name: str, header: str) -> None:
        """Send a Set-Cookie header with the response, in the place of an earlier one for the same cookie."""
        self._begun().cookies[cookie_name] = header

    def _mint(self, *, is_due: bool) -> None:
        if is_due or self.outgoing is not None:
            self._begun().mints = is_due

    def _begun(self) -> Outgoing:
        self.outgoing = self.outgoing or Outgoing()
        return self.outgoing
