"""The frame of the report: one file, no address outside it, no script but the two whose hashes its policy names."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plotly.offline import get_plotlyjs

from fvm_core.report.words import escaped

CSS = """
:root{color-scheme:light dark;--ink:#1C2430;--soft:#5b6470;--paper:#FDFCF9;--side:#F3F0E8;--line:#D9D4C7;--mark:#1F4E79}
@media(prefers-color-scheme:dark){:root{--ink:#E9E6DF;--soft:#a9b0ba;--paper:#14181F;--side:#1E242D;--line:#38414D;
--mark:#A5CBEF}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:2rem 1.2rem 5rem;background:var(--paper);
color:var(--ink);font:17px/1.55 system-ui,sans-serif}h1,h2{font-family:Georgia,serif;line-height:1.2}h1{margin:.2em 0}
h2{margin:2.4em 0 .6em;border-top:1px solid var(--line);padding-top:1em}p.soft,.soft{color:var(--soft)}
.tiles{display:flex;flex-wrap:wrap;gap:1rem}.tile{background:var(--side);border-radius:.4rem;padding:.7rem 1.1rem;
min-width:9rem}.tile b{display:block;font-size:1.55rem}.wide{overflow-x:auto}table{border-collapse:collapse;
font-size:.9rem}th,td{text-align:left;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line);
overflow-wrap:anywhere}.plot{min-height:430px;margin:1rem 0}.cards{display:grid;
grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:.9rem}.card{background:var(--side);border-radius:.4rem;
padding:.6rem;font-size:.83rem;overflow-wrap:anywhere}.card img{width:100%;aspect-ratio:1;object-fit:contain;
image-rendering:pixelated;background:var(--paper)}.card b{display:block}@media print{.card{break-inside:avoid}}
"""
DRAW = """
(function(){const specs=JSON.parse(document.getElementById('figures').textContent);
const style=name=>getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function draw(){for(const [id,spec] of Object.entries(specs)){const layout=JSON.parse(JSON.stringify(spec.layout));
layout.font={color:style('--ink'),family:'system-ui, sans-serif',size:13};
Plotly.react(id,JSON.parse(JSON.stringify(spec.data)),layout,{responsive:true,displaylogo:false});}
document.body.dataset.drawn='yes';}
draw();matchMedia('(prefers-color-scheme: dark)').addEventListener('change',draw);})();
"""


@dataclass
class Report:
    """Sections of HTML (whose every foreign word is escaped already) and figures by id, put together by `html`."""

    title: str
    sections: list[str] = field(default_factory=list)
    figures: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def section(self, heading: str, *parts: str) -> None:
        """Add a section; `heading` is text, `parts` are HTML."""
        self.sections.append(f"<section><h2>{escaped(heading)}</h2>{''.join(parts)}</section>")

    def figure(self, data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> str:
        """Keep a plotly figure and return the place where it is drawn."""
        name = f"figure{len(self.figures)}"
        shared = {
            "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "height": 430,
            "margin": {"l": 60, "r": 20, "t": 30, "b": 60},
        }  # fmt: skip
        self.figures[name] = {"data": list(data), "layout": {**shared, **layout}}
        return f'<div class=plot id={name} role=img aria-label="chart"></div>'

    def html(self) -> str:
        """Return the whole file: plotly.js once (4.8 MB), data as JSON in which no character can end its element."""
        library = get_plotlyjs()
        policy = (
            f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
            f"script-src {_hash(library)} {_hash(DRAW)}"
        )
        return (
            f'<!doctype html><html lang=en><head><meta charset=utf-8><meta http-equiv="Content-Security-Policy" '
            f'content="{policy}"><meta name=viewport content="width=device-width,initial-scale=1">'
            f"<title>{escaped(self.title)}</title><style>{CSS}</style></head><body>"
            f"{''.join(self.sections)}"
            f'<script type="application/json" id=figures>{embedded(self.figures)}</script>'
            f"<script>{library}</script><script>{DRAW}</script></body></html>"
        )


def embedded(value: Any) -> str:
    """Return JSON that is safe inside a script element: no `<`, `>` or `&`; what is no number becomes null."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
