"""A report as an HTML page of its own, to keep or to send: the Markdown report, with a style and nothing else.

The Markdown escapes what comes from outside; of HTML in it nothing would pass, and the page may load and run nothing.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

from proxy.admin.report import markdown
from proxy.admin.surface import Json

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
ALONE: Final = {"Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'; sandbox"}
"""What a browser may do with it where it is shown: draw it."""
_STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
table { display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #8886; padding: .3rem .7rem; vertical-align: top; text-align: left }
blockquote { margin: 1rem 0; padding: .1rem 1rem; border-left: 3px solid #8889 }
"""


def html_page(route: Json, entries: Sequence[Json]) -> str:
    """The report on a route with its history."""
    from markdown_it import MarkdownIt  # a tenth of a second, for the few who ask

    text = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown(route, entries))
    title = html.escape(f"{route['name']}: report of Understudy")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        f'content="{_POLICY}"><style>{_STYLE}</style></head><body>\n{text}</body></html>\n'
    )
