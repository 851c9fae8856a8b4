"""Targets of links and redirects: paths of this origin, behind any prefix that a proxy strips."""

import re
from itertools import takewhile
from typing import Final

from aiohttp import web

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


def relative_path(request: web.BaseRequest, path: str) -> str:
    """
    Return a path of the application as a link from the address of a request (RFC 3986, 4.2).

    Use it for links and redirects of an application that is behind a proxy which
    strips a prefix (``location /shop/ { proxy_pass http://app/; }``). The
    application does not know the prefix; a relative link keeps it. The path
    begins with a slash; one that the browser sent goes through ``local_path()``
    first. A relative link cannot name another host.
    """
    end = re.search("[?#]|$", path)
    assert end is not None, "every text has an end"  # noqa: S101 - for the type checker
    target = path[: end.start()].split("/")
    folders = request.rel_url.raw_path.split("/")[:-1]
    pairs = zip(folders, target[:-1], strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    # The dot keeps a colon from ending a scheme, and stands for the folder itself.
    up = "../" * (len(folders) - shared) or "./"
    return up + "/".join(target[shared:]) + path[end.start() :]
