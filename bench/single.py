"""What one number answers: logins, table growth, sessions per user, rotation under load, memory, the sweeper."""

import asyncio
import os
import subprocess
import tracemalloc
from datetime import timedelta
from statistics import median
from time import perf_counter
from uuid import uuid4

import asyncpg

from aiosess._check.checker import Checker
from aiosess._postgres.database import Database
from aiosess._postgres.endings import Endings
from aiosess._postgres.rows import Rows
from aiosess._postgres.statements import Statements
from aiosess._signals import Signals
from aiosess._token.keys import Keyring
from aiosess._token.reader import TokenReader
from aiosess._token.token import new_token
from aiosess.config import SessionConfig
from aiosess.store import SessionStore
from bench.load import measure
from bench.servers import HERE, LOAD_CORE, Servers, Site
from bench.site import SECRET

CONNECTIONS = 64

FILL = """
insert into aiosess_sessions (
    id, user_id, secret_hash, version, token_id, promoted_at, settled_at, ip, user_agent, device_name, device_type,
    fingerprint, data, authenticated_at, created_at, last_active_at, expires_at, ends_at, idle_timeout, remember
)
select
    gen_random_uuid(), 'filler' || n, sha256(n::text::bytea), 1, left(md5(n::text), 11), now(), now(), '192.0.2.1',
    'Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0', 'Firefox on Linux', 'desktop',
    left(md5('f'), 16), '{"theme": "dark"}', now(), now(), now(), now() + $3::interval, now() + interval '90 days',
    interval '30 days', true
from generate_series($1::int + 1, $2::int) n
"""


async def run(servers: Servers, sizes: list[int], rounds: int, seconds: int) -> str:
    """Measure all of it, and return it as Markdown."""
    parts = [await asyncio.to_thread(_logins, servers, rounds, seconds), await _memory(servers.dsn)]
    parts.append(await _per_user(servers.dsn))
    site = await asyncio.to_thread(servers.site, "aiosess")
    parts.append(await asyncio.to_thread(_rotation, servers, site, rounds, seconds))
    parts.append(await _sweeper(servers.dsn, site, rounds, seconds))
    parts.append(await _growth(servers, site, sizes, rounds, seconds))
    return "\n".join(parts)


def _logins(servers: Servers, rounds: int, seconds: int) -> str:
    sites = {kind: servers.site(kind) for kind in ("aiosess", "handwritten")}
    rates: dict[str, list[float]] = {kind: [] for kind in sites}
    for _ in range(rounds):
        for kind, site in sites.items():
            rates[kind].append(_login_rate(site, seconds))
    ratio = median(a / b for a, b in zip(rates["aiosess"], rates["handwritten"], strict=True))
    return (
        "### Logins per second, 16 connections\n\n| aiosess | hand-written INSERT | ratio |\n|---:|---:|---:|\n"
        f"| {median(rates['aiosess']):,.0f} | {median(rates['handwritten']):,.0f} | {ratio:.2f} |\n"
    )


def _login_rate(site: Site, seconds: int) -> float:
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(HERE / "logins.lua")]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{site.port}/"], env=os.environ, capture_output=True, text=True, check=True
    )
    line = next(line for line in done.stdout.splitlines() if "Requests/sec" in line)
    return float(line.split()[1])


async def _memory(dsn: str) -> str:
    """Hold sessions in a checker of this process, and see what Python's allocator says."""
    config = SessionConfig(max_held_sessions=40_000)
    signals = Signals()
    database = Database(config, signals)
    await database.connect(dsn)
    statements = Statements(database, config.schema)
    store = SessionStore(statements, Endings(statements, signals, config))
    await database.run(lambda connection: connection.execute(FILL, 0, 10_000, timedelta(days=30)))
    ids = [row["id"] for row in await database.fetch("select id from aiosess_sessions limit 10000")]
    size = int((await database.fetch("select avg(octet_length(data::text))::int as n from aiosess_sessions"))[0]["n"])
    checker = Checker(Rows(statements, signals, config), database, signals, config)
    keyring = Keyring(SECRET)
    reader = TokenReader(keyring, config.audience, 40_000, store.clock)
    tokens = [new_token(each, 1, store.clock.now() + config.absolute_timeout) for each in ids]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for start in range(0, len(tokens), 500):
        await asyncio.gather(*[checker.check(token) for token in tokens[start : start + 500]])
    rows = tracemalloc.get_traced_memory()[0]
    texts = [keyring.sign(token, config.audience) for token in tokens]
    signed = tracemalloc.get_traced_memory()[0]
    for text in texts:
        reader.read(text)
    known = (tracemalloc.get_traced_memory()[0] - signed) / len(tokens)
    tracemalloc.stop()
    await database.close()
    each = (rows - before) / len(tokens)
    return (
        "### Memory per held session\n\nIn bytes.\n\n| row | of which data | over its data | verified token |\n"
        f"|---:|---:|---:|---:|\n| {each:,.0f} | {size} | {each - size:,.0f} | {known:,.0f} |\n"
    )


async def _per_user(dsn: str) -> str:
    """List the sessions of users who have few or many."""
    config = SessionConfig()
    signals = Signals()
    database = Database(config, signals)
    await database.connect(dsn)
    statements = Statements(database, config.schema)
    store = SessionStore(statements, Endings(statements, signals, config))
    lines = ["### Listing a user's sessions\n", "| sessions | median ms |", "|---:|---:|"]
    for count in (1, 10, 100, 1000):
        user = f"many-{uuid4().hex}"
        fill = FILL.replace("'filler' || n", f"'{user}'")
        await database.run(lambda connection, f=fill, c=count: connection.execute(f, 0, c, timedelta(days=30)))
        times = []
        for _ in range(30):
            began = perf_counter()
            await store.list_for_user(user)
            times.append((perf_counter() - began) * 1000)
        lines.append(f"| {count:,} | {median(times):.2f} |")
    await database.close()
    return "\n".join(lines) + "\n"


def _rotation(servers: Servers, site: Site, rounds: int, seconds: int) -> str:
    rotating = servers.site("aiosess-rotating")
    ratio = median(
        measure(rotating, CONNECTIONS, seconds).rate / measure(site, CONNECTIONS, seconds).rate for _ in range(rounds)
    )
    return (
        "### Rotation under load\n\nEvery session is due all the time, and its lease runs out after a second: some "
        f"1,000 successors are minted a second.\n\nthroughput / the same without rotation: {ratio:.2f}\n"
    )


async def _sweeper(dsn: str, site: Site, rounds: int, seconds: int) -> str:
    """Compare p99 of requests while a million expired rows are swept, and while they are not."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("alter table aiosess_sessions disable trigger all")
    await connection.execute(FILL, 2_000_000, 3_000_000, timedelta(days=-1))
    await connection.execute("alter table aiosess_sessions enable trigger all")
    await connection.execute("vacuum analyze aiosess_sessions")
    calm = [(await asyncio.to_thread(measure, site, CONNECTIONS, seconds)).p99 for _ in range(rounds)]
    config = SessionConfig()
    signals = Signals()
    database = Database(config, signals)
    await database.connect(dsn)
    began = perf_counter()
    sweeping = asyncio.create_task(Endings(Statements(database, config.schema), signals, config).sweep())
    busy = []
    while not sweeping.done():
        busy.append((await asyncio.to_thread(measure, site, CONNECTIONS, seconds)).p99)
    swept, took = await sweeping, perf_counter() - began
    await database.close()
    await connection.close()
    return (
        f"### The sweeper\n\n{swept:,} expired rows in {took:.0f} s under load.\n\n"
        f"| p99 ms, not sweeping | sweeping | ratio |\n|---:|---:|---:|\n"
        f"| {median(calm):.2f} | {median(busy):.2f} | {median(busy) / median(calm):.2f} |\n"
    )


async def _growth(servers: Servers, site: Site, sizes: list[int], rounds: int, seconds: int) -> str:
    """Fill the table, and compare with a site without sessions in the same minute: the machine changes meanwhile."""
    none = await asyncio.to_thread(servers.site, "none")
    connection = await asyncpg.connect(servers.dsn)
    lines = [
        "### Table growth, 64 connections\n",
        "| rows | requests/s | / no sessions | / smallest |",
        "|---:|---:|---:|---:|",
    ]
    first = None
    for size in sorted(sizes):
        have = await connection.fetchval("select count(*) from aiosess_sessions")
        for start in range(have, size, 500_000):
            await connection.execute(
                FILL, 5_000_000 + start, 5_000_000 + min(start + 500_000, size), timedelta(days=30)
            )
        await connection.execute("vacuum analyze aiosess_sessions")
        await connection.execute("checkpoint")
        rates, ratios = [], []
        for _ in range(rounds):
            rates.append((await asyncio.to_thread(measure, site, CONNECTIONS, seconds)).rate)
            ratios.append(rates[-1] / (await asyncio.to_thread(measure, none, CONNECTIONS, seconds)).rate)
        first = first or median(ratios)
        lines.append(f"| {size:,} | {median(rates):,.0f} | {median(ratios):.2f} | {median(ratios) / first:.2f} |")
    await connection.close()
    return "\n".join(lines) + "\n"
