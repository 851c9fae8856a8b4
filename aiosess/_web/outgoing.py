"""What goes out with a response: cookies, and perhaps a successor of the token."""

import logging

log = logging.getLogger("aiosess")


class Outgoing:
    """
    What goes out with the response of one request; the log says it if it waits for one in vain.

    Attributes:
        cookies: The Set-Cookie headers, by the cookie's name.
        mints: Whether a successor of the token is due.
        waits: Whether the handler has returned a response, and the cookies are still to go out with it.

    """

    __slots__ = ("cookies", "mints", "waits")

    def __init__(self) -> None:
        """Send nothing."""
        self.cookies: dict[str, str] = {}
        self.mints = False
        self.waits = False

    def __del__(self) -> None:
        """Complain when the request is over."""
        if self.waits:
            log.warning(
                "a session cookie was lost: a middleware outside of ours runs the handler in a task of its "
                "own (wait_for, shield), with a copy of the request, and answers with another response"
            )
