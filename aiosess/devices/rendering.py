"""
Templates: those of aiosess, and those of the application that override them.

The page has a Jinja environment of its own, where escaping is always on. If the application uses aiohttp-jinja2, its
templates, filters, globals and extensions work here too. A template of the application overrides the one of aiosess
with the same name, and may extend it under the name ``!aiosess/…``.
"""

from pathlib import Path
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web
from markupsafe import Markup

from aiosess._web.csrf import csrf_field

_HERE: Final = Path(__file__).parent
# A wheel has the templates inside the package; a checkout has them beside it.
_FOLDERS: Final = (_HERE.parent / "templates", _HERE.parent.parent / "templates" / "aiosess")


class Templates:
    """Renders templates for requests of one application."""

    def __init__(self) -> None:
        """Load nothing yet: the application may call ``aiohttp_jinja2.setup()`` later."""
        self._environment: jinja2.Environment | None = None

    def render(self, request: web.Request, name: str, context: dict[str, Any]) -> Markup:
        """Render a template; it also gets the values of the application's context processors."""
        if self._environment is None:
            self._environment = _environment(request.config_dict.get(aiohttp_jinja2.APP_KEY))
        own = request.get(aiohttp_jinja2.REQUEST_CONTEXT_KEY) or {}
        template = self._environment.get_template(f"aiosess/{name}.html")
        return Markup(template.render({**own, **context}))  # noqa: S704 - the template escapes


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
        # Jinja's own filters win: a weaker `escape` of the application must not reach this page.
        made.filters = {**host.filters, **made.filters}
        made.tests = {**host.tests, **made.tests}
        made.globals = {**host.globals, **made.globals}
    made.globals["csrf_field"] = csrf_field
    return made
