"""Where a redirect may go: to a path of the origin that the visitor is at."""

import re
from typing import Final

# Two slashes in a row, or a dot after one, could begin another host once somebody has shortened the path.
_PATH: Final = re.compile(r"(?:/(?![/.])[^/]*)+")
# Browsers read a backslash as a slash, and leave tabs and line feeds out.
_PLAIN: Final = re.compile(r"[!-\[\]-~]{1,2048}")


def local_path(path: str, default: str = "/") -> str:
    """
    Return a path to redirect to, if it is one of this origin, else the default (ASVS 5.0, 3.7.2).

    For what came from outside, like the ``next`` of an application's sign-in or
    re-authentication page. The path may have a query. Whole addresses, and what
    begins with two slashes or a slash and a backslash, are no paths.
    """
    without_query = re.split("[?#]", path, maxsplit=1)[0]
    return path if _PLAIN.fullmatch(path) and _PATH.fullmatch(without_query) else default
