"""Which response carries a successor of the presented token."""

from http import HTTPStatus

from aiohttp import web

from aiosess._client.caller import client_digest
from aiosess._postgres.clock import Clock
from aiosess._postgres.rows import Rows
from aiosess._token.rotation import holder_of, is_lease_free
from aiosess._web.caching import invites_caches
from aiosess._web.transport import CookieTransport
from aiosess._web.visit import Visit
from aiosess.config import SessionConfig
from aiosess.errors import StoreUnavailable


class Successors:
    """
    Mints successors by signing alone; the database learns of one when a client first presents it.

    A token that was presented is never sent again, and a cookie is never deleted in passing: a request may have been in
    flight during a login, and must not touch the new cookie.
    """

    def __init__(self, rows: Rows, transport: CookieTransport, clock: Clock, config: SessionConfig) -> None:
        """Take leases by ``rows``, and send by ``transport``."""
        self._rows = rows
        self._transport = transport
        self._clock = clock
        self._config = config

    async def mint(self, visit: Visit, response: web.StreamResponse) -> None:
        """Send a successor with this response, if one is due, the response may carry it, and the lease is free."""
        row, token = visit.row, visit.token
        if row is None or token is None or not _may_carry(visit, response):
            return
        now = self._clock.now()
        if not any(is_lease_free(row, now, is_holder=each) for each in (True, False)):
            return  # it is free for nobody, and working out the client's digest takes longer than this
        client = visit.caller(self._config.trusted_networks).digest
        is_holder = client == (holder_of(row) or client_digest(row.ip, row.user_agent))
        if not is_lease_free(row, now, is_holder=is_holder):
            return
        try:
            leased = await self._rows.lease(row, token, client, is_holder=is_holder)
        except StoreUnavailable:
            return  # a later response carries one
        if leased is not None:
            visit.update(leased)
            self._transport.send_token(visit, token.successor(), remember=row.remember)


def _may_carry(visit: Visit, response: web.StreamResponse) -> bool:
    """Say whether the client will keep the cookie, and no cache will."""
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or "Sec-Purpose" in visit.headers:
        return False
    return not invites_caches(response)
