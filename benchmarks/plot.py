"""One small plot, as SVG by hand."""

from __future__ import annotations

from html import escape
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 480, 320, 56


def scatter(path: Path, points: list[tuple[float, float]], *, x: str, y: str, title: str) -> None:
    """Points with the straight line through the origin that fits them best."""
    top_x = max(px for px, _ in points) * 1.1
    top_y = max(py for _, py in points) * 1.1
    slope = sum(px * py for px, py in points) / sum(px * px for px, _ in points)

    def place(px: float, py: float) -> tuple[float, float]:
        return (
            round(MARGIN + px / top_x * (WIDTH - 2 * MARGIN), 1),
            round(HEIGHT - MARGIN - py / top_y * (HEIGHT - 2 * MARGIN), 1),
        )

    end = min(top_x, top_y / slope)
    (x0, y0), (x1, y1) = place(0, 0), place(end, slope * end)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="24" text-anchor="middle" font-size="14">{escape(title)}</text>',
        f'<path d="M{x0} {MARGIN}V{y0}H{WIDTH - MARGIN}" fill="none" stroke="black"/>',
        f'<path d="M{x0} {y0}L{x1} {y1}" stroke="gray" stroke-dasharray="4 3"/>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x)}</text>',
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y)}</text>',
    ]
    for px, py in points:
        cx, cy = place(px, py)
        parts.append(f'<circle cx="{cx}" cy="{cy}" r="3.5"/>')
        parts.append(f'<text x="{cx - 6}" y="{cy - 6}" text-anchor="end">{px:.0f}: {py:.2f}</text>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")
