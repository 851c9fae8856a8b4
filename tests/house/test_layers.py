"""Rules that no linter knows: sources of randomness, sizes of classes, docstrings, the use of each SQL file."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_origin

import pytest

import aiosess
from aiosess import errors
from aiosess._token import codec, cookie, token

TESTS = Path(__file__).parent.parent
PACKAGE = Path(aiosess.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
STATEMENTS = sorted((PACKAGE / "_postgres/sql").glob("*.sql"))
TABLES = sorted((PACKAGE / "_postgres/schema").glob("*.sql"))
EXCEPTIONS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
# HOUSE.md's limits of a private class.
MOST_LINES = 150
MOST_PARAMETERS = 10

# A Literal has no docstring; docs/reference.md says what it is.
DESCRIBED = [name for name in aiosess.__all__ if get_origin(getattr(aiosess, name)) is not Literal]


def relative(path: Path) -> str:
    """Return a path relative to the package."""
    return str(path.relative_to(PACKAGE))


def imported(tree: ast.AST) -> Iterator[str]:
    """Give the names of the modules that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


# Randomness


@pytest.mark.threat("TOK-10")
@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_random_makes_no_secret(path: Path) -> None:
    """The `random` module only spreads load, as each use says beside it; no module imports another source."""
    text = path.read_text(encoding="utf-8")
    tree, lines = ast.parse(text), text.splitlines()
    names = set(imported(tree))
    assert not names & {"numpy.random", "uuid"} or not re.search(r"\buuid[14]\b", text)
    if "random" not in names:
        return
    assert "from random" not in text
    uses = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
    ]
    assert uses
    assert all("# noqa: S311 - spreads load, no secret" in lines[number - 1] for number in uses)


@pytest.mark.threat("TOK-10")
def test_tokens_are_made_with_secrets() -> None:
    """The module that makes tokens imports `secrets`, asks for 32 and 8 bytes, and has no other source."""
    text = Path(token.__file__).read_text(encoding="utf-8")
    assert "secrets" in set(imported(ast.parse(text)))
    assert sorted(re.findall(r"secrets\.\w+\(\d+\)", re.sub(r'"""(?:.|\n)*?"""|"[^"\n]*"', "", text))) == [
        "secrets.token_urlsafe(32)",
        "secrets.token_urlsafe(8)",
    ]
    assert "urandom" not in text


@pytest.mark.threat("TOK-11")
@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_secrets_are_not_compared_with_equals(path: Path) -> None:
    """No module compares a secret's hash with `==`, whose time tells how many bytes were right."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            names = {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}
            assert not names & {"secret", "secret_hash", "signing", "form"}, node.lineno


# Names and docstrings


def test_modules_have_names() -> None:
    """No module has a name that says nothing about its content."""
    nondescript = {
        "util",
        "utils",
        "helper",
        "helpers",
        "common",
        "types",
        "constants",
        "misc",
        "tools",
        "base",
        "core",
    }
    assert not [relative(path) for path in MODULES if nondescript & {path.stem.strip("_"), path.parent.name}]


def is_exported(node: ast.ClassDef, path: Path) -> bool:
    """Tell a class of the public face, whose docstrings are the reference, from a private one."""
    exported = getattr(aiosess, node.name, None)
    module = ".".join(("aiosess", *path.relative_to(PACKAGE).with_suffix("").parts))
    return exported is not None and exported.__module__ == module


def private_classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """Give the classes that are not public, with their names."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and path.stem != "embedded" and not is_exported(node, path):
                yield f"{relative(path)}: {node.name}", node


def parameters(node: ast.ClassDef) -> int:
    """Count what a class is constructed with; a record's fields are not counted."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            arguments = child.args
            return len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs) - 1
    return 0


def test_private_classes_are_small() -> None:
    """No private class has more than 150 lines or is constructed with more than ten parameters."""
    lines = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in private_classes()}
    assert len(lines) > 20
    assert not {name for name, count in lines.items() if count > MOST_LINES}
    assert not [name for name, node in private_classes() if parameters(node) > MOST_PARAMETERS]


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def is_overload(node: Definition) -> bool:
    """Say whether a function is a declared overload; its definition has the docstring."""
    return any(isinstance(decorator, ast.Name) and decorator.id == "overload" for decorator in node.decorator_list)


def public(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    """Give a module's classes, functions and methods without an underscore."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name, node
            for child in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
                    yield f"{node.name}.{child.name}", child


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_public_names_have_docstrings(path: Path) -> None:
    """Each module has a docstring, and so has each class, function and method without an underscore."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body
    assert not [name for name, node in public(tree) if not ast.get_docstring(node) and not is_overload(node)]


@pytest.mark.parametrize("name", DESCRIBED)
def test_exported_name_has_a_docstring(name: str) -> None:
    """Each exported class, function and module has a docstring of its own that begins with a sentence."""
    exported: Any = getattr(aiosess, name)
    documented = exported if hasattr(exported, "__name__") else type(exported)
    assert re.match(r"[^\n]{10,}", (documented.__doc__ or "").strip())


def test_exports_are_complete_and_sorted() -> None:
    """__all__ names each public thing of the package once, in ruff's order, and every public error is in it."""
    assert len(set(aiosess.__all__)) == len(aiosess.__all__)
    assert {kind.__name__ for kind in EXCEPTIONS} <= set(aiosess.__all__)


# Errors

TREE = (errors.__doc__ or "").partition("::")[2]


def drawn() -> dict[str, tuple[str, str]]:
    """Return what the docstring's tree draws: for each error its base and the text beside it."""
    found: dict[str, tuple[str, str]] = {}
    path: list[tuple[int, str]] = [(-1, "")]
    for line in TREE.splitlines():
        if match := re.match(r"( {4}[ │├└─]*)([A-Z]\w+)\s*(.*)", line):
            indent, name, text = match.groups()
            path = [(depth, above) for depth, above in path if depth < len(indent)]
            found[name] = (path[-1][1], text)
            path.append((len(indent), name))
    return found


@pytest.mark.parametrize("kind", EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_error_is_drawn_in_the_tree(kind: type[Exception]) -> None:
    """The docstring's tree draws each public error below its base, with its status."""
    base, text = drawn()[kind.__name__]
    parent = next(cls.__name__ for cls in kind.__mro__[1:] if cls is not object)
    assert base == parent or (parent in text and base == "Exception")
    status = getattr(kind, "status_code", None)
    assert status is None or kind is errors.SessionError or text.startswith(f"{status} ")


def test_tree_draws_nothing_else() -> None:
    """Each name in the tree exists."""
    assert drawn().keys() - {kind.__name__ for kind in EXCEPTIONS} == {"Exception", "ValueError"}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.SessionError, 500),
        (errors.NotAuthenticated, 401),
        (errors.SessionNotFound, 404),
        (errors.SessionRevoked, 401),
        (errors.StoreUnavailable, 503),
        (errors.ResponseStarted, 500),
        (errors.SchemaMismatch, 500),
    ],
)
def test_error_has_a_status_and_says_something(kind: type[errors.SessionError], status: int) -> None:
    """An error of a request has its HTTP status and a text of its own, which can be replaced."""
    assert kind().status == status
    assert str(kind("because")) == "because"
    if kind not in (errors.SessionError, errors.SchemaMismatch):
        assert len(str(kind())) > 10


def test_not_installed_names_the_remedy() -> None:
    """NotInstalled names the function to call."""
    assert "aiosess.setup(" in str(errors.NotInstalled())


@pytest.mark.threat("TOK-01")
def test_bad_cookies_are_no_errors() -> None:
    """The errors about a bad cookie are internal: an application never sees one."""
    for kind in (codec.InvalidToken, cookie.CookieConflict):
        assert not issubclass(kind, errors.SessionError | ValueError)


# CI

PACKAGES = {
    "WebKitWebDriver": "webkit2gtk-driver",
    "Xvfb": "xvfb",
    "pg_lsclusters": "postgresql",
}  # by program, where the names differ


def test_ci_installs_the_programs_of_tests() -> None:
    """.ci/run installs the Debian package of each program that a test needs."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
    marks = re.findall(r'mark\.needs\(("[^")]+"(?:, "[^")]+")*)\)', tests)
    needed = {PACKAGES.get(program, program) for mark in marks for program in re.findall(r'"([^"]+)"', mark)}
    (installed,) = re.findall(
        r"^packages=\((.+)\)$", (TESTS.parent / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {"chromium", "webkit2gtk-driver"} <= needed <= set(installed.split())


# The log


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_log_lines_do_not_repeat_the_loggers_name(path: Path) -> None:
    """A usual format puts the logger's name, which is aiosess, before each line."""
    called = re.findall(r'\blog\.\w+\(\s*f?"([^"]*)', path.read_text(encoding="utf-8"))
    assert not [line for line in called if line.startswith("aiosess:")]


# SQL


@pytest.mark.parametrize("path", STATEMENTS + TABLES, ids=relative)
def test_statement_begins_with_a_sentence(path: Path) -> None:
    """Each SQL file begins with a sentence as a comment, and has no placeholder that the code does not fill."""
    text = path.read_text(encoding="utf-8")
    assert re.match(r"-- [A-Z][^\n]{10,}", text)
    assert set(re.findall(r"\{\w*\}", re.sub(r"'[^'\n]*'", lambda m: m[0].replace("{}", ""), text))) <= {
        "{schema}",
        "{columns}",
        "{column_names}",
        "{column_types}",
    }


@pytest.mark.parametrize("path", STATEMENTS, ids=relative)
def test_statement_is_used(path: Path) -> None:
    """Some module names each file in sql/."""
    code = "\n".join(module.read_text(encoding="utf-8") for module in MODULES)
    assert f'"{path.stem}"' in code or f"sql/{path.name}" in code


@pytest.mark.threat("DB-03")
@pytest.mark.parametrize("path", STATEMENTS + TABLES, ids=relative)
def test_names_are_qualified(path: Path) -> None:
    """SQL names our tables and functions with their schema, so a hostile search_path changes nothing."""
    text = re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8"))
    bare = re.findall(
        r"(?<!\{schema\}\.)(?<!\w)(?<!')aiosess_(?:sessions|schema|logins|authenticate|revoke_user)\b", text
    )
    assert not bare


# Words of SQL before a parenthesis, and a function without arguments, of which PostgreSQL's own is the one exact match.
# unnest() of several arrays is a word too: qualified, it would be another function.
NO_CALLS = {"all", "any", "array", "coalesce", "extract", "greatest", "least", "nullif", "operator", "unnest", "now"}


@pytest.mark.threat("DB-03")
@pytest.mark.parametrize("path", STATEMENTS, ids=relative)
def test_calls_are_qualified(path: Path) -> None:
    """Statements call PostgreSQL's functions by their schema, so nobody else's fits better."""
    text = re.sub(r"--[^\n]*|'[^']*'", "", path.read_text(encoding="utf-8"))
    called = set(re.findall(r"(?<![\w.])([a-z_][a-z_0-9]*)\(", text))
    assert called <= NO_CALLS
    assert "unnest" not in called or re.search(r"from unnest\(\$1[^)]*, \$2", text)


@pytest.mark.threat("DB-03")
def test_functions_look_in_pg_catalog_alone() -> None:
    """Each function of ours has a search path of its own."""
    (path,) = (path for path in TABLES if path.stem == "functions")
    text = path.read_text(encoding="utf-8")
    made = text.count("create or replace function")
    assert made == text.count("language plpgsql set search_path = pg_catalog, pg_temp as $$") > 0
