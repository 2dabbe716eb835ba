"""Results as pages, and as what a notebook shows of them; importing it registers both."""

from __future__ import annotations

from octconvert.display.html.pages import page_of
from octconvert.display.html.rendering import in_frame, to_html
from octconvert.display.printing import spelled
from octconvert.results.shown import STANDARD, Shown, View, as_mimebundle, as_page, as_text
from octconvert.text.printable import printable


@as_page.register
def _(result: Shown, view: View = STANDARD) -> str:
    def shown(text: str) -> str:
        return "\n".join(map(printable, view.spell(text).split("\n")))

    return to_html(page_of(spelled(result, shown), view))


@as_mimebundle.register
def _(result: Shown) -> dict[str, str]:
    return {"text/plain": as_text(result), "text/html": in_frame(as_page(result))}
