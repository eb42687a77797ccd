"""A person's words in HTML: escaped, cut, and with nothing invisible that could turn a line around."""

from __future__ import annotations

import html

from fvm_core.visible import visible

LIMIT = 120


def escaped(text: object, *, limit: int = LIMIT) -> str:
    """Return `visible` as HTML text or attribute.

    >>> escaped('<b a="1">')
    '&lt;b a=&quot;1&quot;&gt;'
    """
    return html.escape(visible(text, limit=limit), quote=True)


def label(text: object, *, limit: int = 40) -> str:
    """Return `visible` for plotly's texts, which know a few tags of HTML."""
    return html.escape(visible(text, limit=limit), quote=False)


def table(rows: list[list[object]], head: list[str]) -> str:
    """Return an HTML table of escaped cells; `head` is ours."""
    heads = "".join(f"<th>{escaped(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escaped(cell, limit=400)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
