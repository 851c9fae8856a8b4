"""
Templates: ours, and the application's that override them.

The environment is our own, so that escaping depends on nobody (it is always on). When the application uses
aiohttp-jinja2, its templates, filters, globals and extensions are there too: a template of its own that is named like
one of ours comes first, and may extend ours under the name ``!aiosess/…``.
"""

from pathlib import Path
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web
from markupsafe import Markup

from aiosess._web.csrf import csrf_field

_HERE: Final = Path(__file__).parent
# Built in, the templates are in the package; in a checkout they are beside it.
_FOLDERS: Final = (_HERE.parent / "templates", _HERE.parent.parent / "templates" / "aiosess")


class Templates:
    """Renders templates for requests of one application."""

    def __init__(self) -> None:
        """Look for no template yet: the application may set up its own after us."""
        self._environment: jinja2.Environment | None = None

    def render(self, request: web.Request, name: str, context: dict[str, Any]) -> Markup:
        """Return a template, filled; what the application's context processors gave is there as well."""
        if self._environment is None:
            self._environment = _environment(request.config_dict.get(aiohttp_jinja2.APP_KEY))
        own = request.get(aiohttp_jinja2.REQUEST_CONTEXT_KEY) or {}
        template = self._environment.get_template(f"aiosess/{name}.html")
        return Markup(template.render({**own, **context}))  # noqa: S704 - made by a template that escapes


def _environment(host: jinja2.Environment | None) -> jinja2.Environment:
    ours = jinja2.FileSystemLoader(_FOLDERS)
    loaders: list[jinja2.BaseLoader] = [jinja2.PrefixLoader({"aiosess": ours}), jinja2.PrefixLoader({"!aiosess": ours})]
    if host is not None and host.loader is not None:
        loaders.insert(0, host.loader)
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined if host is None else host.undefined,
        extensions=[] if host is None else [type(extension) for extension in host.extensions.values()],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    if host is not None:
        # Jinja's own filters win: ours must not escape less because the host's `escape` does.
        made.filters = {**host.filters, **made.filters}
        made.tests = {**host.tests, **made.tests}
        made.globals = {**host.globals, **made.globals}
    made.globals["csrf_field"] = csrf_field
    return made
