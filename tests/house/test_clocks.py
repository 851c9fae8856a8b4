"""Where the library looks at this machine's clock: a host's clock may be days off, and PostgreSQL's decides."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "aiosess"
ALLOWED = {
    "_postgres/clock.py": "warns if the two clocks differ; stamps events before the first answer",
    "_token/token.py": "iat: carried for people, never judged",
}
CALLS = {"time", "time_ns", "gmtime", "localtime"}
ATTRIBUTES = {("time", call) for call in CALLS} | {("datetime", call) for call in ("now", "utcnow", "today")}


def looks_at_the_time_of_day(source: str) -> bool:
    """Say whether a module asks the machine for the time of day; the monotonic clock is another one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "time" and CALLS & {each.name for each in node.names}:
            return True
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=call) if (module, call) in ATTRIBUTES:
                return True
    return False


@pytest.mark.threat("TOK-06")
def test_time_of_day_is_asked_for_in_two_places() -> None:
    """No module but the named ones looks at this machine's clock."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if looks_at_the_time_of_day(path.read_text())
    }
    assert found == ALLOWED.keys()
