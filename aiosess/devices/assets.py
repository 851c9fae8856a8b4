"""The stylesheet, the script and the icon: served below the page's path, without a build step or another host."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from aiosess._web.handlers import unchecked

_FOLDER: Final = Path(__file__).parent / "static"
_KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset:
    """A file in memory; its address changes with its content, so browsers may cache it for ever."""

    def __init__(self, name: str) -> None:
        """Read the file."""
        path = _FOLDER / name
        self.name = name
        self._body = path.read_bytes()
        self._type = _KINDS[path.suffix]
        self.version = sha256(self._body).hexdigest()[:12]

    @unchecked
    async def serve(self, request: web.Request) -> web.Response:
        """Return the file."""
        response = web.Response(body=self._body, content_type=self._type, charset="utf-8")
        is_current = request.query.get("v") == self.version
        response.headers[hdrs.CACHE_CONTROL] = "public, max-age=31536000, immutable" if is_current else "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def load_assets() -> Mapping[str, Asset]:
    """Return the assets by name."""
    return {name: Asset(name) for name in ("devices.css", "devices.js", "devices.svg")}
