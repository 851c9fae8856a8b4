"""The .sql files of this package."""

from importlib import resources


def read_sql(path: str, schema: str) -> str:
    """Return an .sql file of this package, its names qualified: a hostile search_path changes nothing."""
    text = resources.files("aiosess._postgres").joinpath(path).read_text(encoding="utf-8")
    return text.replace("{schema}", f'"{schema}"')
