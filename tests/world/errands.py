"""Jobs that a test hands to a handler, to be done with the SessionManager of a request."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiosess

Job = Callable[[aiosess.SessionManager], Awaitable[Any]]


@dataclass
class Errand:
    """What a test wants done with the manager of a request, and what came of it."""

    job: Job
    result: Any = None
    error: Exception | None = None


PENDING: dict[str, Errand] = {}  # by the number in the URL of the request that does it
