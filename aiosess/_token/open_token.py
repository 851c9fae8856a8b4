"""
How long an open connection may go on with the token that opened it: a pure function of row, token and client.

A WebSocket or a stream presents its token once. A page of the owner that is open all day goes on while the token
rotates under it; a thief who opened a connection with a copy has to come back with a cookie, which raises the alarm.
"""

from hmac import compare_digest
from math import inf

from aiosess._client.caller import client_digest
from aiosess._row import Row
from aiosess._token.rotation import holder_of
from aiosess._token.token import Token
from aiosess.config import SessionConfig

# The response of rotate() brings the browser its new cookie. If the owner's other pages lost their connections before
# it arrived, they would come back with the old cookie, and show their user as signed out.
COOKIE_ARRIVES_WITHIN = 1.0  # seconds


def dies_at(row: Row, token: Token, client: str, config: SessionConfig) -> float:
    """
    Return when an open connection ends, in seconds since the epoch by the database's clock, if the row stays as it is.

    That is never (``inf``) for the current token and its successors, and for
    every token with the session's secret in the hands of the session's holder;
    ``late_window`` after a token was retired for any other client. A token with
    another secret is dead at once (``-inf``), the holder's own a second after
    ``rotate()``. ``client`` is the digest of who opened the connection.
    """
    is_holder = client == (holder_of(row) or client_digest(row.ip, row.user_agent))
    if not compare_digest(token.secret_hash, row.secret_hash):
        return row.promoted_at.timestamp() + COOKIE_ARRIVES_WITHIN if is_holder else -inf
    if is_holder or token.id == row.token_id or token.version > row.version:
        return inf
    # The row forgets a token that was retired long ago.
    retired_at = max((each.at for each in row.retired if each.token_id == token.id), default=-inf)
    return retired_at + config.late_window.total_seconds()
