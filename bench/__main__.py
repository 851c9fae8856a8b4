"""
``python -m bench``: measure aiosess against what a user would pick instead, and write ``bench/results/``.

All sites run interleaved in one run, round by round, so that what else the machine does hits all alike; the numbers to
look at are medians and ratios.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from bench import single, throughput
from bench.servers import HERE, servers

RESULTS = HERE / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for, all of it by default."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of each round")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--only", choices=["throughput", "single"])
    options = parser.parse_args(arguments)
    RESULTS.mkdir(exist_ok=True)
    with servers() as running:
        if options.only != "single":
            text = throughput.run(running, options.connections, options.rounds, options.seconds, RESULTS)
            _write(RESULTS / "throughput.md", text)
        if options.only != "throughput":
            _write(
                RESULTS / "single.md", asyncio.run(single.run(running, options.rows, options.rounds, options.seconds))
            )


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
