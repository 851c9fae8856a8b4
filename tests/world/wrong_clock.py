"""
Programs whose clock is wrong: Debian's libfaketime stands between them and the kernel's clock.

A test that uses it needs the program "faketime", which is of the same package.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiosess.embedded import EmbeddedPostgres


@contextmanager
def wrong_clock(offset: str) -> Iterator[None]:
    """Let programs that start meanwhile have a clock that is off, by "-3h" or "+90s"; the monotonic clock is right."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    wrong = {"LD_PRELOAD": str(library), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    before = {name: os.environ.get(name) for name in wrong}
    os.environ.update(wrong)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def server_with_wrong_clock(offset: str, **settings: str) -> Iterator[str]:
    """Run a PostgreSQL server whose clock is off, and return its DSN."""
    with tempfile.TemporaryDirectory(prefix="aiosess") as folder:
        with wrong_clock(offset):
            server = EmbeddedPostgres(Path(folder) / "pg", settings={"fsync": "off", **settings})
        with server:
            yield server.dsn
