"""Draws the rooms of the package and which may import which: `python scripts/draw_architecture.py`.

Layers come from the import contracts in pyproject.toml, words from the first line of each room's docstring, so the
picture cannot tell of another package than the one that is tested. Written to docs/figures/architecture.svg.
"""

from __future__ import annotations

import ast
import html
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "figures" / "architecture.svg"
WIDTH, GAP, LEFT, ROW, HEAD = 1040, 14, 150, 104, 64
LAYERS = {
    "introspect.cli": "commands",
    "introspect.show | introspect.serve": "what people see",
    "introspect.study": "whole studies",
    "introspect.internals": "the network itself",
    "introspect.subjects": "subjects, instruments",
    "introspect.training": "fine-tuning",
    "introspect.decision": "the ground",
}
OUTSIDE = {"backend": "your model or service, entry points", "store": "study.db, one SQLite file"}


def layers() -> list[list[str]]:
    """The rooms, top to bottom, as the import contract lists them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    rows = next(contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    return [[part.strip().removeprefix("introspect.") for part in row.split("|")] for row in rows]


def says(room: str) -> str:
    """The first sentence of a room's docstring."""
    file = ROOT / "src" / "introspect" / room / "__init__.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def draw() -> str:
    """The picture, as SVG."""
    rows = layers()
    height = HEAD + len(rows) * ROW + 96
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif">',
        "<title>The rooms of introspect, and which may import which</title>",
        "<style>.b{fill:#fff;stroke:#33415c;stroke-width:1.3}.g{fill:#eef4fb}.n{font-weight:700;font-size:17px;fill:#0b3d66}"
        ".t{font-size:12.5px;fill:#222}.s{font-size:12px;fill:#555}.x{fill:#fff7e6;stroke:#b5762a;stroke-dasharray:5 3}"
        "</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<text x="20" y="32" class="n">Imports run down the page, never up and never sideways</text>',
        '<text x="20" y="52" class="s">A backend sees messages and answer words; a scenario never reaches it. '
        "Nothing imports the command line or introspect.testing.</text>",
    ]
    for number, rooms in enumerate(rows):
        top = HEAD + number * ROW
        wide = (WIDTH - LEFT - 20 - GAP * (len(rooms) - 1)) / len(rooms)
        parts.append(f'<text x="20" y="{top + 42}" class="s">{_e(_title(rooms))}</text>')
        for place, room in enumerate(rooms):
            x = LEFT + place * (wide + GAP)
            ground = " g" if number == len(rows) - 1 else ""
            parts.append(f'<rect x="{x:.0f}" y="{top}" width="{wide:.0f}" height="78" rx="7" class="b{ground}"/>')
            parts.append(f'<text x="{x + 12:.0f}" y="{top + 23}" class="n">{_e(room)}</text>')
            for line, words in enumerate(textwrap.wrap(says(room), int((wide - 20) / 6.4))[:3]):
                parts.append(f'<text x="{x + 12:.0f}" y="{top + 42 + 15 * line}" class="t">{_e(words)}</text>')
            if number < len(rows) - 1:
                parts.append(_arrow(x + wide / 2, top + 79, top + ROW - 3))
            elif room in OUTSIDE:
                parts.append(_arrow(x + wide / 2, top + 79, top + ROW + 4))
                parts.append(f'<rect x="{x:.0f}" y="{top + ROW + 6}" width="{wide:.0f}" height="40" rx="7" class="x"/>')
                parts.append(f'<text x="{x + 12:.0f}" y="{top + ROW + 31}" class="t">{_e(OUTSIDE[room])}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _title(rooms: list[str]) -> str:
    named = {key.split(" | ")[0].removeprefix("introspect."): words for key, words in LAYERS.items()}
    return next((named[room] for room in rooms if room in named), "")


def _arrow(x: float, start: float, end: float) -> str:
    head = f"M{x - 5:.0f} {end - 8:.0f}L{x:.0f} {end:.0f}L{x + 5:.0f} {end - 8:.0f}Z"
    line = f'<path d="M{x:.0f} {start:.0f}V{end - 7:.0f}" stroke="#33415c" stroke-width="1.3"/>'
    return f'{line}<path d="{head}" fill="#33415c"/>'


def _e(text: str) -> str:
    return html.escape(text, quote=False)


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
    print(TARGET)
