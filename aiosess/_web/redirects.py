"""Check the target of a redirect: it has to be a path of this origin."""

import re
from typing import Final

# A path with two slashes in a row, or with a dot after a slash, could begin another host after a proxy shortens it.
_PATH: Final = re.compile(r"(?:/(?![/.])[^/]*)+")
# Browsers read a backslash as a slash, and remove tabs and line feeds.
_PLAIN: Final = re.compile(r"[!-\[\]-~]{1,2048}")


def local_path(path: str, default: str = "/") -> str:
    """
    Return a path if it belongs to this origin, else the default (ASVS 5.0, 3.7.2).

    Use it for a path that the browser sent, like the ``next`` of a sign-in
    page. The path may have a query. Addresses with a host are refused, and so
    are paths that begin with two slashes or with a slash and a backslash.
    """
    without_query = re.split("[?#]", path, maxsplit=1)[0]
    return path if _PLAIN.fullmatch(path) and _PATH.fullmatch(without_query) else default
