"""HTML pages: one file that needs no network, legible in light and dark, by phone and on paper.

Functions take plain texts, which they escape, and return `Html`, of which pages are put together.
"""

import base64
import io
import re
from collections.abc import Collection, Iterable
from typing import NewType

import matplotlib as mpl
from matplotlib.figure import Figure

from ugmm.report.escaping import for_html
from ugmm.report.style import EMPTY, FIRST, INK, MUTED, SECOND
from ugmm.report.tables import Cells

__all__ = [
    "Html",
    "code",
    "data_uri",
    "document",
    "drawing",
    "fold",
    "heading",
    "inline_svg",
    "listed",
    "paragraph",
    "picture",
    "table",
    "wide",
]

Html = NewType("Html", str)

_LONG = 24  # letters of a cell, beyond which it is broken into lines
_LEGIBLE = 600  # pixels of a picture's width, less than which it is not shrunk to

# What a figure's colours become: names of the page's own, which differ in light and dark.
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    EMPTY: "--grid",
    "#ffffff": "--paper",
    FIRST: "--first",
    SECOND: "--second",
    "#882255": "--wine",
    "#56B4E9": "--sky",
    "#E69F00": "--amber",
    "#009E73": "--green",
    "#CCE3F2": "--pale-first",
    "#FBE6DA": "--pale-second",
}
_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #222222; --muted: #5f5f5f;
  --grid: #e4e4e4; --first: #0072b2; --second: #d55e00; --wine: #882255; --sky: #56b4e9;
  --amber: #e69f00; --green: #009e73; --pale-first: #cce3f2; --pale-second: #fbe6da;
  --shade: #f5f6f8; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #16181c; --ink: #e6e6e6;
  --muted: #a5a8ad; --grid: #33363c; --first: #3d94db; --second: #f27a3d; --wine: #b0527f;
  --sky: #a9dcff; --amber: #f2c53d; --green: #2fbf95; --pale-first: #1d3a52;
  --pale-second: #4a2c1c; --shade: #1f2227; } }
body { background: var(--paper); color: var(--ink); margin: 0 auto; max-width: 68rem;
  padding: 2rem 1.25rem 4rem; font: 1rem/1.55 system-ui, "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p, li { max-width: 46rem; }
.lead { font-size: 1.1rem; }
.warning { border-left: .25rem solid var(--second); padding-left: .75rem; }
.note, figcaption { color: var(--muted); font-size: .875rem; max-width: 52rem; }
.wide { overflow-x: auto; margin-bottom: 1.25rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums;
  overflow-wrap: break-word; }
th, td { padding: .4rem .7rem; text-align: right; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--grid); vertical-align: bottom; }
tbody th { font-weight: normal; max-width: 18rem; }
tbody th, td { border-bottom: 1px solid var(--grid); vertical-align: top; }
th:first-child, .text { text-align: left; }
th, td.text { white-space: normal; }
td.text { max-width: 34rem; }
.long { min-width: 12rem; overflow-wrap: anywhere; }
tbody tr:hover { background: var(--shade); }
figure { margin: 1rem 0 2rem; }
svg { max-width: 100%; height: auto; }
.card { background: #ffffff; border-radius: .4em; padding: .5rem; width: fit-content;
  max-width: 100%; box-sizing: border-box; overflow-x: auto; margin-bottom: .5rem; }
.card img { display: block; max-width: 100%; height: auto; }
summary { cursor: pointer; margin: .75rem 0; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em; }
code { background: var(--shade); padding: .1em .3em; border-radius: .25em; }
@media print { html { font-size: 75%; } body { max-width: none; padding: 0; }
  .wide { overflow: visible; } svg, .card img { min-width: 0 !important; }
  h2, h3, thead { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""


def document(title: str, body: Iterable[Html], style: str = "") -> str:
    """Return a page.

    Args:
        title: Of the browser's window.
        body: What stands in it.
        style: Rules of its own, in CSS, beside those that all pages share.
    """
    content = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An icon of its own, or a browser would ask a server for one.
        '<link rel="icon" href="data:,">\n'
        f"<title>{for_html(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n"
        f"<body>\n<main>\n{content}\n</main>\n</body>\n</html>\n"
    )


def heading(text: str, level: int = 2) -> Html:
    """Return a heading."""
    return Html(f"<h{level}>{for_html(text)}</h{level}>")


def paragraph(text: str, kind: str = "") -> Html:
    """Return a paragraph.

    Args:
        text: What it says.
        kind: "lead", "note", "warning" or none.
    """
    shown = for_html(text)
    return Html(f'<p class="{kind}">{shown}</p>' if kind else f"<p>{shown}</p>")


def code(text: str) -> Html:
    """Return what one types, or reads in a file."""
    return Html(f"<code>{for_html(text)}</code>")


def listed(items: Iterable[str]) -> Html:
    """Return a list."""
    return Html(f"<ul>{''.join(f'<li>{for_html(item)}</li>' for item in items)}</ul>")


def fold(summary: str, body: Iterable[Html]) -> Html:
    """Return what is hidden until the reader asks for it."""
    content = "\n".join(body)
    return Html(f"<details><summary>{for_html(summary)}</summary>\n{content}\n</details>")


def wide(content: Html, label: str = "") -> Html:
    """Return a box of its own for what may be wider than the page: it scrolls, the page does not.

    Args:
        content: What is in it.
        label: What it shows, to those who cannot see it, if it is a picture.
    """
    role = f' role="img" aria-label="{for_html(label)}"' if label else ""
    return Html(f'<div class="wide" tabindex="0"{role}>{content}</div>')


def table(cells: Cells, texts: Collection[str] = ()) -> Html:
    """Return a table, whose first column names the rows, in a box that scrolls.

    Args:
        cells: What it shows.
        texts: The names of further columns that are no numbers.
    """
    head = "".join(
        f'<th scope="col"{_kind(name, is_text=name in texts)} dir="auto">{for_html(name)}</th>'
        for name in cells.header
    )
    rows = (
        f'<tr><th scope="row"{_kind(first, is_text=True)} dir="auto">{for_html(first)}</th>'
        + "".join(
            f'<td{_kind(cell, is_text=name in texts)} dir="auto">{for_html(cell)}</td>'
            for cell, name in zip(rest, cells.header[1:], strict=True)
        )
        + "</tr>"
        for first, *rest in cells.rows
    )
    return wide(
        Html(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")
    )


def _kind(text: str, *, is_text: bool) -> str:
    """Return the classes of a cell: of texts, and of what has room for some words in a line."""
    kinds = " ".join(["text"] * is_text + ["long"] * (len(text) > _LONG))
    return f' class="{kinds}"' if kinds else ""


def drawing(figure: Figure, prefix: str, shown: str) -> Html:
    """Return a figure whose colours follow the page's, with its caption.

    Args:
        figure: See `inline_svg`.
        prefix: See there.
        shown: What is seen.
    """
    svg = wide(inline_svg(figure, prefix), shown)
    return Html(f"<figure>{svg}<figcaption>{for_html(shown)}</figcaption></figure>")


def picture(png: bytes, width: int, height: int, shown: str) -> Html:
    """Return a picture with its caption, on a light card.

    Args:
        png: The file's content.
        width: Of the picture as shown where there is room for it.
        height: Likewise.
        shown: What is seen.
    """
    image = (
        f'<img src="{data_uri(png)}" width="{width}" height="{height}" alt="{for_html(shown)}" '
        f'style="min-width: {min(width, _LEGIBLE)}px">'
    )
    caption = f"<figcaption>{for_html(shown)}</figcaption>"
    return Html(f'<figure><div class="card" tabindex="0">{image}</div>{caption}</figure>')


def data_uri(png: bytes) -> str:
    """Return a PNG file as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def inline_svg(figure: Figure, prefix: str) -> Html:
    """Return a figure as an SVG element whose colours are the page's.

    Args:
        figure: Drawn in the colours of `ugmm.report.style`.
        prefix: Begins its ids, which must differ from other figures' on the page.
    """
    text = io.StringIO()
    # Texts stay texts; the same figure gives the same ids.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # "url(#p1)", "#m1" and the ids they name; colours have six digits and no such place.
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = svg.replace("xlink:href", "href")
    for colour, name in _VARIABLES.items():
        svg = re.sub(re.escape(colour), f"var({name})", svg, flags=re.IGNORECASE)
    # Its texts have 9 points and more: of three quarters of their size they can still be read.
    least = round(0.75 * 96 * figure.get_figwidth())
    return Html(svg.replace("<svg", f'<svg style="min-width: {least}px"', 1))
