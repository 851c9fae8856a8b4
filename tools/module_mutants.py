"""
Change the modules of _token where mutmut doesn't: constants, regular expressions, decorators, fields of classes.

mutmut changes functions. This program makes each change in a copy of the package, one at a time, and the same tests
have to fail. It prints the changes that no test noticed. Usage: python -m tools.module_mutants [module ...]
"""

import ast
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
MODULES = ("rotation", "token", "codec", "keys", "reader", "cookie", "form_token")
DEADLINE = 300  # seconds; the tests take 10

Change = Callable[[Any], ast.AST]


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Give the nodes of a module that run when it is imported, docstrings and annotations left out."""
    for name, value in ast.iter_fields(node):
        if name == "annotation":
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or is_docstring(child):
                continue
            if isinstance(child, ast.FunctionDef):
                yield from child.decorator_list
                continue
            yield child
            yield from outside_functions(child)


def is_docstring(node: ast.AST) -> bool:
    """Say whether a node is a docstring, or another text that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def changes_of(node: ast.AST) -> Iterator[Change]:
    """Give the ways to change a node."""
    if isinstance(node, ast.Constant):
        yield from (lambda n, v=value: set_field(n, "value", v) for value in other_values(node.value))
    if isinstance(node, ast.BinOp):
        yield lambda n: set_field(n, "op", ast.Mult())
    for name in ("elts", "keywords", "args", "decorator_list"):
        several = getattr(node, name, None)
        for index in range(len(several) if isinstance(several, list) else 0):
            yield lambda n, name=name, index=index: without(n, name, index)


def other_values(value: object) -> list[object]:
    """Return the values that may take a constant's place."""
    match value:
        case bool():
            return [not value]
        case int():
            return [value - 1, value + 1]
        case bytes():
            return [b"XX" + value + b"XX", value[:-1]]
        case str() if "[" in value:  # a regular expression: it loses each of its characters in turn, and gains one
            return [
                *(value[:i] + value[i + 1 :] for i in range(len(value))),
                value.replace("-]", "-=]", 1),
                value + "?",
            ]
        case str():
            return ["XX" + value + "XX", value.swapcase()]
    return []


def set_field(node: ast.AST, name: str, value: object) -> ast.AST:
    """Change one field of a node."""
    setattr(node, name, value)
    return node


def without(node: ast.AST, name: str, index: int) -> ast.AST:
    """Remove one entry from a list of a node."""
    del getattr(node, name)[index]
    return node


def mutants(source: str) -> Iterator[tuple[int, str]]:
    """Give each changed source, with the line of the change."""
    tree = ast.parse(source)
    unchanged = ast.unparse(tree)
    for number, node in enumerate(outside_functions(tree)):
        for change in changes_of(node):
            changed = deepcopy(tree)
            change(list(outside_functions(changed))[number])
            text = ast.unparse(changed)
            if text != unchanged:
                yield getattr(node, "lineno", 0), text


def pytest_says(folder: Path, module: str, *options: str) -> int:
    """Run pytest on the copy, the tests of the changed module first, and return its exit code."""
    for name in [name for name in sys.modules if name.partition(".")[0] in {"aiosess", "tests", "conftest"}]:
        del sys.modules[name]
    # A file changed twice in a second looks unchanged to Python.
    shutil.rmtree(folder / "aiosess" / "_token" / "__pycache__", ignore_errors=True)
    order = sorted(MODULES, key=lambda name: name != module)
    files = [f"tests/token/test_{name}.py" for name in order]
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=ci", *options, *files]))


def is_noticed(folder: Path, module: str) -> bool:
    """Say whether a test fails. The tests run in a fork, which has all libraries already imported."""
    child = os.fork()
    if child == 0:
        signal.alarm(DEADLINE)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os._exit(pytest_says(folder, module))
    return os.waitpid(child, 0)[1] != 0


def difference(source: str, changed: str) -> str:
    """Describe a change in one line."""
    before, after = ast.unparse(ast.parse(source)).splitlines(), changed.splitlines()
    gone, came = [line for line in before if line not in after], [line for line in after if line not in before]
    return f"{' '.join(gone).strip()}  ->  {' '.join(came).strip() or 'nothing'}"


def main(modules: list[str]) -> int:
    """Try every change and return the number of unnoticed ones."""
    made = survived = 0
    with tempfile.TemporaryDirectory(prefix="aiosess") as name:
        folder = Path(name)
        for part in ("aiosess", "tests", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        os.chdir(folder)
        sys.path[:0] = [str(folder)]
        pytest_says(folder, "rotation", "--collect-only", "-qq")
        for module in modules or MODULES:
            path = folder / "aiosess" / "_token" / f"{module}.py"
            source = path.read_text(encoding="utf-8")
            if is_noticed(folder, module):
                sys.exit("the tests fail without any change")
            for line, text in mutants(source):
                made += 1
                path.write_text(text, encoding="utf-8")
                if not is_noticed(folder, module):
                    survived += 1
                    print(f"{module}.py:{line}: {difference(source, text)}", flush=True)
            path.write_text(source, encoding="utf-8")
    print(f"{made} changes outside of functions, {survived} unnoticed")
    return survived


if __name__ == "__main__":
    main(sys.argv[1:])
