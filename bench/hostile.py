"""
``python -m bench.hostile``: what an anonymous request costs with the Cookie headers that somebody hostile sends.

The sites run in this process on aiohttp's own protocol class, without sockets. Each kind of request takes turns with
requests without cookies, on one site without sessions and on one with aiosess; the best of several rounds counts. The
first ratio is what aiohttp's parser asks for such headers, the second what a request costs with aiosess (DOS-05: less
than three times), the third what aiosess adds.
"""

import argparse
import asyncio
import json
import logging
import secrets
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hmac import digest
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp import web

from aiosess._token.keys import Keyring
from aiosess._token.token import Token, new_token
from aiosess.embedded import EmbeddedPostgres
from bench.bytecodes import Wire
from bench.site import SECRET, SITES

Request = Callable[[int], bytes]

NAME = "session"
ROUNDS = 7
REQUESTS = 300  # of each kind in a round


def _token(**changes: Any) -> Token:  # noqa: ANN401 - any field
    token = new_token(UUID(int=1), 1, datetime.now(UTC) + timedelta(days=1))
    return Token(**{name: getattr(token, name) for name in Token.__slots__} | changes)


def _forged(_number: int) -> str:
    return Keyring(SECRET).sign(_token(), "aiosess")[:-43] + secrets.token_urlsafe(32)


def _utf_16(_number: int) -> str:
    """Return a token that is rightly signed and spelled in another encoding."""
    header = Keyring(SECRET).sign(_token(), "aiosess").partition(".")[0]
    body = urlsafe_b64encode(json.dumps({"exp": 2**32, "iat": 1, "aud": "aiosess"}).encode("utf-16")).decode()
    key: bytes = Keyring(SECRET)._first.signing  # noqa: SLF001 - it plays somebody who has the key
    signed = f"{header}.{body.rstrip('=')}"
    return f"{signed}.{urlsafe_b64encode(digest(key, signed.encode(), 'sha256')).decode().rstrip('=')}"


def _ours(value: Callable[[int], str]) -> Callable[[int], list[str]]:
    """Return the header with our cookie; the values are made beforehand."""
    values = [value(number) for number in range(64)]
    return lambda number: [f"{NAME}={values[number % 64]}"]


def _kinds() -> dict[str, Callable[[int], list[str]]]:
    """Return the kinds of Cookie headers by what they are; a number makes each request another one."""
    line = "x=" + "y" * 8000
    return {
        "a cookie of somebody else": lambda n: [f"x={n}"],
        "one line of 8 kB": lambda n: [f"{n}{line}"],
        "120 lines of 8 kB": lambda n: [f"{n}{line}"] * 120,
        "120 lines of 8 kB, ours in each": lambda n: [f"{NAME}={n}; {line}"[:8000]] * 120,
        "120 short lines, ours in each": lambda n: [f"{NAME}={n}"] * 120,
        "8 kB of `;` around ours": lambda n: [";" * 4000 + f"{NAME}={n}" + ";" * 4000],
        "16 kB of `;` in two lines": lambda n: [";" * 8000, ";" * 7900 + f"{NAME}={n}"],
        "16 kB of `a;` in two lines": lambda n: ["a;" * 4000, "a;" * 3900 + f"{NAME}={n}"],
        "16 kB of `; ` in two lines": lambda n: ["; " * 4000, "; " * 3900 + f"{NAME}={n}"],
        "16 kB of spaces in two lines": lambda n: [";" + " " * 8000, f"{n};" + " " * 7900 + NAME],
        "16 kB of tabs around ours": lambda n: [";" + "\t" * 7900 + f"{NAME}={n}", f"{NAME}={n}" + "\t" * 7900 + ";"],
        "16 kB of blanks in the value": lambda n: [f"{NAME}={n}" + " a" * 3900, ";" + " \t" * 3900],
        "16 kB of names like ours": lambda n: [f"{NAME};x" * 880, f"x{NAME}=;" * 790 + f"{NAME}={n}"],
        "16 kB of ours, all the same": lambda n: [f"{NAME}=1;" * 780, f"{NAME}=1;" * 780 + f"x={n}"],
        "ours twice, different": lambda n: [f"{NAME}=1{n}; {NAME}=2"],
        "ours twice, in two lines": lambda n: [f"{NAME}=1{n}", f"{NAME}=2"],
        "16 kB of ours, the last one different": lambda n: [f"{NAME}=1;" * 780, f"{NAME}=1;" * 780 + f"{NAME}={n}"],
        "rubbish": _ours(lambda n: f"rubbish{n}"),
        "8 kB of ours": _ours(lambda n: f"{n}" + "y" * 8000),
        "three parts": _ours(lambda n: f"{'A' * 90}.{'B' * 270}.{n:043}"),
        "a forged signature": _ours(_forged),
        "another key": _ours(lambda _: Keyring(secrets.token_bytes(32)).sign(_token(), "aiosess")),
        "another application's": _ours(lambda _: Keyring(SECRET).sign(_token(), "another")),
        "a token that has ended": _ours(lambda _: Keyring(SECRET).sign(_token(expires_at=1), "aiosess")),
        "signed, in UTF-16": _ours(_utf_16),
    }


class Line:
    """A connection of a site, without a socket."""

    def __init__(self, runner: web.AppRunner) -> None:
        """Connect."""
        assert runner.server is not None, "set up"  # noqa: S101 - for the type checker
        self._protocol: Any = runner.server()
        self._wire = Wire(self._tell)
        self._protocol.connection_made(self._wire)
        self._answered: asyncio.Future[None] | None = None

    async def ask(self, request: bytes) -> None:
        """Send a request and wait for its response."""
        self._answered = asyncio.get_running_loop().create_future()
        self._wire.sent = b""
        self._protocol.data_received(request)
        await self._answered
        assert b" 200 " in self._wire.sent[:20], self._wire.sent[:200]  # noqa: S101 - else nothing is measured

    def _tell(self) -> None:
        if self._answered is not None:
            self._answered.set_result(None)


async def _seconds(line: Line, requests: list[bytes]) -> float:
    began = time.thread_time()
    for request in requests:
        await line.ask(request)
    return (time.thread_time() - began) / len(requests)


async def _measure(sites: dict[str, web.Application], rounds: int) -> list[str]:
    runners = {name: web.AppRunner(app, access_log=None) for name, app in sites.items()}
    for runner in runners.values():
        await runner.setup()
    numbers = count()

    def made(headers: Callable[[int], list[str]], *, fresh: bool = False) -> list[bytes]:
        return [_request(next(numbers), headers, fresh=fresh) for _ in range(REQUESTS)]

    rows = []
    for kind, headers in _kinds().items():
        cost: dict[str, float] = {}
        base: dict[str, float] = {}
        for name, runner in runners.items():
            line, bare, hostile = Line(runner), [], []
            for _ in range(rounds):
                bare.append(await _seconds(line, made(lambda _: [])))
                hostile.append(await _seconds(line, made(headers, fresh="different" in kind)))
            base[name], cost[name] = min(bare), min(hostile)
        aiohttps, ours = cost["none"] / base["none"], cost["anonymous"] / base["anonymous"]
        added = (cost["anonymous"] - base["anonymous"]) - (cost["none"] - base["none"])
        rows.append(f"| {kind} | {aiohttps:.2f} | {ours:.2f} | {added * 1e6:.0f} |")
        print(rows[-1], flush=True)
    for runner in runners.values():
        await runner.cleanup()
    return rows


def _request(number: int, headers: Callable[[int], list[str]], *, fresh: bool) -> bytes:
    user_agent = (
        f"Mozilla/5.0 (X11; Linux x86_64; rv:{number}.0) Gecko/{number} Firefox/{number}.0" if fresh else "bench"
    )
    lines = [
        "GET / HTTP/1.1",
        "Host: localhost",
        f"User-Agent: {user_agent}",
        *(f"Cookie: {h}" for h in headers(number)),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.hostile")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    logging.disable()
    print("| Cookie header | without aiosess | with aiosess | added, µs |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="bench") as folder, EmbeddedPostgres(Path(folder) / "pg") as postgres:
        arguments.dsn, arguments.redis = postgres.dsn, ""
        sites = {kind: SITES[kind](arguments) for kind in ("none", "anonymous")}
        asyncio.run(_measure(sites, arguments.rounds))


if __name__ == "__main__":
    main()
