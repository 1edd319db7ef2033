"""An ablation's page: one HTML file that needs no network, legible in light and dark."""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from ugmm.report.escaping import for_html
from ugmm.report.style import EMPTY, FIRST, INK, MUTED, SECOND
from ugmm.report.tables import Cells

__all__ = ["html_page", "inline_svg"]

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
}
_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #222222; --muted: #5f5f5f;
  --grid: #e4e4e4; --first: #0072b2; --second: #d55e00; --wine: #882255; --sky: #56b4e9;
  --amber: #e69f00; --shade: #f5f6f8; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --ink: #e6e6e6; --muted: #a5a8ad;
  --grid: #33363c; --first: #3d94db; --second: #f27a3d; --wine: #b0527f; --sky: #a9dcff;
  --amber: #f2c53d; --shade: #1f2227; } }
body { background: var(--paper); color: var(--ink); margin: 0 auto; max-width: 68rem;
  padding: 2rem 1.25rem 4rem; font: 1rem/1.55 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
p, li { max-width: 46rem; }
.conclusion { font-size: 1.1rem; }
.caption, figcaption { color: var(--muted); font-size: .875rem; max-width: 52rem; }
.wide { overflow-x: auto; margin-bottom: 1.25rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid var(--grid); vertical-align: bottom; }
td { border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; }
tbody tr:hover { background: var(--shade); }
figure { margin: 1rem 0 2rem; }
svg { max-width: 100%; min-width: 40rem; height: auto; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em; }
code { background: var(--shade); padding: .1em .3em; border-radius: .25em; }
"""


def html_page(
    title: str,
    conclusion: str,
    tables: Sequence[Cells],
    caption: str,
    figures: Mapping[str, tuple[Figure, str]],
    notes: Sequence[str],
    command: str,
) -> str:
    """Return the page.

    Args:
        title: The ablation's question.
        conclusion: The answer in a sentence or two.
        tables: The numbers.
        caption: What the tables' columns are.
        figures: By heading, a figure and what it shows.
        notes: What was run, where, and what is missing.
        command: What makes the runs, and the page, again.
    """
    parts = [
        f"<h1>{for_html(title)}</h1>",
        f'<p class="conclusion">{for_html(conclusion)}</p>',
        *(f'<div class="wide">{_table(cells)}</div>' for cells in tables),
        f'<p class="caption">{for_html(caption)}</p>',
    ]
    for heading, (figure, shown) in figures.items():
        parts.append(f"<h2>{for_html(heading)}</h2>")
        parts.append(f'<figure role="img" aria-label="{for_html(shown)}">')
        parts.append(f'<div class="wide">{inline_svg(figure, _slug(heading))}</div>')
        parts.append(f"<figcaption>{for_html(shown)}</figcaption></figure>")
    parts.append("<h2>What was run</h2>")
    parts.append(f"<ul>{''.join(f'<li>{for_html(note)}</li>' for note in notes)}</ul>")
    parts.append(f"<p>To repeat it: <code>{for_html(command)}</code></p>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An icon of its own, or a browser would ask a server for one.
        '<link rel="icon" href="data:,">\n'
        f"<title>{for_html(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def inline_svg(figure: Figure, prefix: str) -> str:
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
    return svg


def _table(cells: Cells) -> str:
    head = "".join(f"<th scope=col>{for_html(name)}</th>" for name in cells.header)
    rows = (
        "<tr>" + "".join(f"<td>{for_html(cell)}</td>" for cell in row) + "</tr>"
        for row in cells.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z]+", "-", heading.lower())
