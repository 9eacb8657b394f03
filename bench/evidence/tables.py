"""Markdown for the terminal and the documentation, and one picture."""

from collections.abc import Sequence
from html import escape

import numpy as np
from measure import Row

COLOURS = {
    "Argo": "#c9c3b8",
    "Flagger": "#a9b7c6",
    "Kayenta": "#cdb3ba",
    "quantiles": "#7fb3a5",
    "Lastgood": "#1f6f5c",
    "distribution": "#1f6f5c",
}
LEFT, WIDTH, BAR, GAP = 190, 560, 11, 12
FIRST, LAST = -0.7, 3.4
FONT = 'font-family="system-ui, sans-serif" font-size="11"'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def regressions(rows: Sequence[Row]) -> str:
    """Return the mean candidate requests until rollback, and how many times the limit that is."""
    names = list(rows[0].stops)
    cells = [[row.name, number(row.limit or 0.0), *(until(row, name) for name in names)] for row in rows]
    return table(["regression", "limit", *names], cells)


def alarms(rows: Sequence[Row]) -> str:
    """Return the share of good releases that were rolled back, in per cent, with one standard error of ours."""
    names = list(rows[0].stops)
    cells = []
    for row in rows:
        shares = [float(np.isfinite(row.stops[name]).mean()) for name in names]
        size = len(row.stops[names[0]])
        told = [f"{100 * share:.0f} %" for share in shares]
        for place in range(len(names)):
            if names[place] not in ("Argo", "Flagger", "Kayenta"):
                error = (0.05 * 0.95 / size) ** 0.5
                told[place] = f"{100 * shares[place]:.1f} % (±{100 * error:.1f})"
        cells.append([row.name, *told])
    return table(["false rollbacks", *names], cells)


def until(row: Row, name: str) -> str:
    """Return one cell. A stream without an end counts with all it has seen, and the cell says "at least"."""
    stops = row.stops[name]
    ended = np.isfinite(stops)
    if ended.mean() < 0.02:
        return "never"
    mean = float(np.where(ended, stops, row.seen).mean())
    told = f"{number(mean)} ({number(mean / (row.limit or 1.0))})"
    return told if ended.all() else f"≥ {told}"


def number(value: float) -> str:
    """Return a number with the digits that matter."""
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def picture(title: str, rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return an SVG: for each regression a bar for each rule, on a logarithmic axis, in multiples of the limit."""
    group = len(names) * BAR + GAP
    height = 74 + group * len(rows) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 110}" height="{height}" {FONT}>',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="12" y="22" font-size="14">{escape(title)}</text>',
    ]
    for place, name in enumerate(names):
        x = LEFT + place * 110
        parts.append(f'<rect x="{x}" y="36" width="10" height="10" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 15}" y="45">{escape(name)}</text>')
    for multiple in (1, 3, 10, 30, 100, 300, 1000):
        x = _place(multiple)
        colour = "#b03a2e" if multiple == 1 else "#e6e6e6"
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="56" y2="{height - 30}" stroke="{colour}"/>')
        told = "limit" if multiple == 1 else f"{multiple}x"
        parts.append(f'<text x="{x:.1f}" y="{height - 14}" text-anchor="middle" fill="#555">{told}</text>')
    for index, row in enumerate(rows):
        y = 64 + index * group
        parts.append(
            f'<text x="{LEFT - 10}" y="{y + (group - GAP) / 2 + 4}" text-anchor="end">{escape(row.name)}</text>'
        )
        parts += [_bar(row, name, y + place * BAR) for place, name in enumerate(names)]
    parts.append("</svg>\n")
    return "\n".join(parts)


def _place(multiple: float) -> float:
    """Return where a multiple of the limit is, from a fifth of it to three thousand times."""
    return LEFT + WIDTH * (float(np.log10(multiple)) - FIRST) / (LAST - FIRST)


def _bar(row: Row, name: str, y: float) -> str:
    """Return one bar with its number; bars left of the limit were bought with false rollbacks."""
    told = until(row, name)
    if told == "never":
        return f'<text x="{_place(1) + 4:.1f}" y="{y + 9}" font-size="9" fill="#888">{name}: never</text>'
    stops = row.stops[name]
    multiple = float(np.where(np.isfinite(stops), stops, row.seen).mean()) / (row.limit or 1.0)
    left, right = sorted((_place(1), _place(multiple)))
    text = f'<text x="{right + 4:.1f}" y="{y + 9}" font-size="9">{escape(told)}</text>'
    shape = f'x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="{BAR - 1}"'
    return f'<rect {shape} fill="{COLOURS[name]}"/>{text}'
