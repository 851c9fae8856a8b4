"""Throughput, latency, processor time and queries of all sites, at several numbers of connections."""

import asyncio
from collections import defaultdict
from pathlib import Path
from statistics import median

import asyncpg

from bench.load import Round, measure
from bench.servers import Servers, Site

KINDS = ("none", "empty", "anonymous", "aiosess", "aiosess-stale", "handwritten", "encrypted", "redis")
Table = dict[tuple[int, str], list[Round]]


def run(servers: Servers, connections: list[int], rounds: int, seconds: int, results: Path) -> str:
    """Measure, and return the tables as Markdown."""
    sites = [servers.site(kind) for kind in KINDS]
    for site in sites:
        measure(site, 8, 1)  # fills what each of them remembers
    table: Table = defaultdict(list)
    queries: dict[tuple[int, str], list[float]] = defaultdict(list)
    for count in connections:
        for _ in range(rounds):
            for site in sites:
                before = asyncio.run(_queries(servers.dsn))
                result = measure(site, count, seconds)
                after = asyncio.run(_queries(servers.dsn))
                table[count, site.kind].append(result)
                queries[count, site.kind].append((after - before) / result.requests * 1000)
    for site in sites:
        _end(site)
    _plot(table, connections, results)
    parts = [f"Medians of {rounds} interleaved rounds of {seconds} s.\n"]
    parts += [_at(table, queries, count) for count in connections]
    return "\n".join(parts)


def _at(table: Table, queries: dict[tuple[int, str], list[float]], count: int) -> str:
    lines = [
        f"### {count} connection{'s' if count > 1 else ''}\n",
        "| site | requests/s | aiosess / it | p50 ms | p99 ms | CPU µs/request | queries/1,000 | errors |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in KINDS:
        rounds = table[count, kind]
        # A ratio of each round's neighbours, and then the median: what disturbs one round disturbs both of its sides.
        ratio = median(ours.rate / its.rate for ours, its in zip(table[count, "aiosess"], rounds, strict=True))
        lines.append(
            f"| {kind} | {median(r.rate for r in rounds):,.0f} | {ratio:.2f} | {median(r.p50 for r in rounds):.2f} "
            f"| {median(r.p99 for r in rounds):.2f} | {median(r.cpu for r in rounds):.0f} "
            f"| {median(queries[count, kind]):.0f} | {sum(r.errors for r in rounds)} |"
        )
    for ours, its in (("empty", "none"), ("anonymous", "none"), ("anonymous", "empty")):
        ratio = median(a.rate / n.rate for a, n in zip(table[count, ours], table[count, its], strict=True))
        lines.append(f"\n{ours} / {its}: {ratio:.2f}")
    lines.append("")
    return "\n".join(lines)


async def _queries(dsn: str) -> int:
    """Return how many statements PostgreSQL has run, those of this function left out."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("create extension if not exists pg_stat_statements")
    calls: int = await connection.fetchval(
        "select coalesce(sum(calls), 0)::bigint from pg_stat_statements where query !~ 'pg_stat_statements|pg_catalog'"
    )
    await connection.close()
    return calls


def _end(site: Site) -> None:
    site.process.terminate()
    site.process.wait()


def _plot(table: Table, connections: list[int], results: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5))
    for kind in KINDS:
        axes.plot(connections, [median(r.rate for r in table[c, kind]) for c in connections], marker="o", label=kind)
    axes.set_xscale("log", base=2)
    axes.set_xticks(connections, [str(c) for c in connections])
    axes.set_xlabel("connections")
    axes.set_ylabel("requests per second")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(results / "throughput.png", dpi=100)
