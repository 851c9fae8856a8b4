"""One round of load: wrk on keep-alive connections, a different cookie with each request."""

import json
import os
import subprocess
from dataclasses import dataclass

from bench.servers import HERE, LOAD_CORE, Site


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured; times in milliseconds, processor time in microseconds per request."""

    rate: float
    p50: float
    p99: float
    cpu: float
    requests: int
    errors: int


def measure(site: Site, connections: int, seconds: int) -> Round:
    """Load a site for some seconds."""
    before = site.cpu()
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s"]
    command += [str(HERE / "cookies.lua"), f"http://127.0.0.1:{site.port}/"]
    environment = os.environ | {"COOKIES": str(site.cookies)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.rpartition("JSON ")[2])
    return Round(
        rate=told["requests"] / told["seconds"],
        p50=told["p50"],
        p99=told["p99"],
        cpu=(site.cpu() - before) / max(1, told["requests"]) * 1e6,
        requests=told["requests"],
        errors=told["errors"],
    )
