"""One page with every table and figure, which needs no other file."""

import base64
from collections.abc import Sequence
from html import escape

from sparse_seg.report.render import Section, about, grid

Picture = tuple[str, str, bytes]
"""Name, caption, PNG."""
CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.3rem; margin-top: 3rem; border-bottom: 2px solid #0072B2; }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
thead { border-top: 2px solid; border-bottom: 1px solid; } tbody { border-bottom: 2px solid; }
th, td { padding: .3rem .7rem; white-space: nowrap; } tbody tr:nth-child(even) { background: #f4f6f8; }
ul { font-size: .88rem; color: #444; padding-left: 1.2rem; margin: .6rem 0; }
figure { margin: 2rem 0; } img { max-width: 100%; height: auto; } figcaption { font-size: .88rem; color: #444; }
@media print {
  body { font-size: 10pt; max-width: none; margin: 0; padding: 0; } table { font-size: 8pt; }
  th, td { padding: .15rem .35rem; white-space: normal; } .scroll { overflow: visible; }
  .table, figure { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
"""


def page(sections: Sequence[Section], pictures: Sequence[Sequence[Picture]], sources: Sequence[str]) -> str:
    """pictures: those of each section."""
    body = [_section(s, p) for s, p in zip(sections, pictures, strict=True)]
    read = "".join(f"<li>{escape(s)}</li>" for s in sources)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Segmentation from sparse points</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<h1>Segmentation from sparse points: measured runs beside the report</h1>\n<ul>{read}</ul>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _section(section: Section, pictures: Sequence[Picture]) -> str:
    parts = [f"<h2>{escape(section.block.title)}</h2>", *(f"<p>{escape(line)}</p>" for line in about(section.block))]
    for table in section.tables:
        notes = "".join(f"<li>{escape(n)}</li>" for n in table.notes)
        title = escape(f"Table {table.number}: {table.title}")
        parts.append(
            f'<div class="table"><h3>{title}</h3>\n<div class="scroll">{grid(table, "html")}</div>\n'
            f"<ul>{notes}</ul></div>"
        )
    for _, caption, content in pictures:
        data = base64.b64encode(content).decode()
        said = escape(caption)
        parts.append(
            f'<figure><img alt="{said}" src="data:image/png;base64,{data}"><figcaption>{said}</figcaption></figure>'
        )
    return "\n".join(parts)
