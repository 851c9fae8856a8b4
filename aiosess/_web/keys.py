"""The keys under which an application finds what ``setup()`` has put there."""

from typing import Final

from aiohttp import web

from aiosess._web.manager import SessionManager
from aiosess.errors import NotInstalled
from aiosess.store import SessionStore

_HASH_OF_SESSIONS: Final = hash("sessions")


class _SessionsKey(web.RequestKey[SessionManager]):
    """
    A request key that is also found under the text "sessions".

    aiohttp warns about text keys when they are written; this one is written
    typed and read either way.
    """

    __slots__ = ()

    def __hash__(self) -> int:
        return _HASH_OF_SESSIONS

    def __eq__(self, other: object) -> bool:
        return self is other or other == "sessions"


SESSIONS: Final = _SessionsKey("sessions", SessionManager)
STORE: Final = web.AppKey("aiosess_store", SessionStore)


def get_sessions(request: web.BaseRequest) -> SessionManager:
    """
    Return the request's ``SessionManager``.

    Raises:
        NotInstalled: ``aiosess.setup()`` was not called for this application.

    """
    manager: SessionManager | None = request.get(SESSIONS)
    if manager is None:
        raise NotInstalled
    return manager
