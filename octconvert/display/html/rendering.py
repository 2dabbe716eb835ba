"""`Page` -> one self-contained file of HTML.

Names from files are a stranger's text: the template escapes every value, and the page's security policy lets nothing
run but the scripts that are here, by their hashes, and nothing load.
"""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

from octconvert.display.html.page import Page
from octconvert.system.environment import version

_SORTING = ("sortable", "sortable.a11y")
_D3 = "color dispatch ease interpolate selection timer transition drag zoom"
_DRAWING = ("dagre", *(f"d3-{part}" for part in _D3.split()))
"""Libraries, each behind those that it needs."""
FRAME_HEIGHT = 760
"""Of a page in a notebook, in pixels; the frame can be pulled."""


def to_html(page: Page) -> str:
    """The text of the file."""
    libraries = (*_SORTING, *(_DRAWING if page.drawing else ()))
    own = ("page.js", *(("graph.js",) if page.drawing else ()))
    texts = [*(_text(f"scripts/{name}.min.js") for name in libraries), *(_text(f"templates/{name}") for name in own)]
    script, style = "\n".join(texts), _text("templates/style.css")
    return _template().render(
        page=page, script=Markup(script), style=Markup(style), policy=_policy(script, style), version=version()
    )


def in_frame(text: str) -> str:
    """A page as a part of another one, a notebook: in a frame of its own, where nothing of the two can mix."""
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(text)}" title="octconvert" loading="lazy" '
        f'style="width: 100%; height: {FRAME_HEIGHT}px; border: 0; resize: vertical"></iframe>'
    )


def _policy(script: str, style: str) -> str:
    own = f"script-src {_hash(script)}; style-src {_hash(style)}; img-src data:"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FunctionLoader(lambda name: _text(f"templates/{name}"))
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("page.html.j2")
