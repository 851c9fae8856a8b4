"""
A server process of the soak: the site, and a journal of what it made of each token.

``python -m tools.soak_site DSN OPTIONS``, where OPTIONS has the journal's path and spans in seconds. All processes
write to one journal: a line that is appended in one write stays whole, and stays when the process is killed.
"""

import json
import logging
import os
import sys
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from aiosess import events
from aiosess._row import Row
from aiosess._token.rotation import Verdict, judge
from aiosess._token.token import Token
from aiosess._web import admission
from aiosess.config import SessionConfig
from tests.world.app import make_app
from tests.world.serve import serve


class Journal:
    """Lines of JSON, with instants by the monotonic clock, which is the same for all processes of a machine."""

    def __init__(self, path: str) -> None:
        """Append to a file."""
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def _write(self, **fields: Any) -> None:
        os.write(self._file, (json.dumps({"at": monotonic(), "process": os.getpid()} | fields) + "\n").encode())

    def judge(self, row: Row, token: Token, now: datetime, config: SessionConfig) -> Verdict:
        """Judge, and write down what is out of the ordinary."""
        verdict = judge(row, token, now, config)
        if not verdict.is_steady:
            self._write(
                session=str(row.id),
                what=verdict.meaning.value,
                token=token.id,
                parent=token.parent_id,
                row=row.token_id,
                promoted=round((now - row.promoted_at).total_seconds(), 3),
                settled=row.settled_at and round((now - row.settled_at).total_seconds(), 3),
                retired=[(each.token_id, round(now.timestamp() - each.at, 3)) for each in row.retired],
                revision=row.revision,
            )
        return verdict

    def tell(self, event: events.Event) -> None:
        """Write down what happened to a session."""
        if isinstance(event, events.SessionEvent):
            self._write(session=str(event.session_id), what=type(event).__name__)


def main() -> None:
    """Serve until SIGTERM."""
    dsn, text = sys.argv[1:]
    spans = json.loads(text)
    journal = Journal(spans.pop("journal"))
    # The verdict is no part of any answer, and events tell of a few verdicts only.
    admission.judge = journal.judge  # type: ignore[attr-defined]  # it is imported there, not exported
    logging.getLogger("aiosess").setLevel(logging.ERROR)  # short spans are warned of at each start
    options = {name: timedelta(seconds=seconds) for name, seconds in spans.items()}
    serve(make_app(dsn, on_event=journal.tell, **options))


if __name__ == "__main__":
    main()
