"""The laws of the tests themselves: no test file is imported, and our package `tests` is the one that is found."""

import ast
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.world.serve import served

ROOT = Path(__file__).parent.parent.parent
FILES = sorted([*ROOT.glob("tests/**/*.py"), *ROOT.glob("tools/**/*.py")])


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, each part of a module's name counted."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_no_file_imports_from_a_test_file() -> None:
    """A test file or a conftest.py can change without breaking another: shared code stands in a module of its own."""
    found = {}
    for path in FILES:
        parts = {part for name in imported(path) if name.startswith("tests.") for part in name.split(".")}
        found[path] = {part for part in parts if part.startswith("test_") or part == "conftest"}
    assert {str(path.relative_to(ROOT)): parts for path, parts in found.items() if parts} == {}


async def test_an_installed_package_does_not_hide_the_tests(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a distribution installs a package named tests, `python -m tests.world.serve` still runs ours."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with served(dsn) as (_, port), ClientSession(f"http://127.0.0.1:{port}") as client:
        assert await (await client.get("/public")).text() == "public"
