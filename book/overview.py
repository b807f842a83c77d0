"""Draw overview.svg, the picture of the README and of the first page: python book/overview.py"""

import random
from pathlib import Path

FLOATS, MINUS, PLUS, INK = "#7a7a7a", "#c8553d", "#2a6f97", "#222222"


def square(x, y, size, fill, opacity=1.0):
    return f'<rect x="{x:g}" y="{y:g}" width="{size:g}" height="{size:g}" fill="{fill}" fill-opacity="{opacity:.2f}"/>'


def text(x, y, words, size=20, anchor="middle"):
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{INK}">{words}</text>'


def arrow(x, y, words):
    return f'<path d="M{x} {y} h58 m-9 -7 l9 7 l-9 7" fill="none" stroke="{INK}" stroke-width="2"/>' + text(
        x + 29, y - 14, words, 17
    )


def pixel(row, column):
    """A landscape of 12 x 12 pixels: sky, sun, two hills."""
    if (row - 3) ** 2 + (column - 8.5) ** 2 < 4.5:
        return "#f2b134"
    if row >= 11 - column / 2:
        return "#3f7d4f"
    if row >= 4 + column / 1.6:
        return "#6ba368"
    return "#a9d3e8"


def draw():
    """Return the picture as SVG text."""
    parts = []

    # Above: an image, cut into 3 x 3 patches, each a token.
    for row in range(12):
        for column in range(12):
            parts.append(square(30 + 14 * column, 60 + 14 * row, 14.3, pixel(row, column)))
            parts.append(
                square(286 + 14 * column + 8 * (column // 4), 52 + 14 * row + 8 * (row // 4), 14.3, pixel(row, column))
            )
    for patch in range(9):
        for part in range(16):
            colour = pixel(4 * (patch // 3) + part // 4, 4 * (patch % 3) + part % 4)
            parts.append(square(560 + 16 * patch, 60 + 10.5 * part, 10.7, colour))
    parts += [text(114, 38, "image"), text(378, 38, "patches"), text(628, 38, "tokens")]
    parts += [arrow(212, 144, "cut"), arrow(486, 144, "flatten")]

    # Below: latent weights, their ternary values, and what is left of a product with them.
    normal = random.Random(3)
    weights = [[normal.gauss(0, 1) for _ in range(6)] for _ in range(6)]
    scale = sum(abs(w) for row in weights for w in row) / 36
    ternary = [[max(-1, min(1, round(w / scale))) for w in row] for row in weights]
    for row in range(6):
        for column in range(6):
            w, t = weights[row][column], ternary[row][column]
            x, y = 28 * column, 326 + 28 * row
            parts.append(square(30 + x, y, 26, MINUS if w < 0 else PLUS, min(1, 0.12 + abs(w) / 2.5)))
            parts.append(square(294 + x, y, 26, {-1: MINUS, 0: "#e4e4e4", 1: PLUS}[t]))
            if t:
                sign = "+" if t > 0 else "−"
                parts.append(
                    f'<text x="{307 + x}" y="{y + 19}" font-size="19" text-anchor="middle" fill="#ffffff">{sign}</text>'
                )
    parts += [text(114, 306, "weights"), text(378, 306, "−1, 0 or +1"), arrow(212, 408, "round")]

    # One column of the ternary matrix, written out: which inputs are added, which subtracted.
    column = [row[0] for row in ternary]
    parts += [arrow(476, 408, "column 1"), text(628, 306, "only sums")]
    for row, t in enumerate(column):
        term = {1: f"+ x{row + 1}", -1: f"− x{row + 1}", 0: "skip"}[t]
        colour = {1: PLUS, -1: MINUS, 0: FLOATS}[t]
        parts.append(
            f'<text x="628" y="{345 + 28 * row}" font-size="20" text-anchor="middle" fill="{colour}">{term}</text>'
        )

    title = (
        "An image is cut into patches that become tokens; weights are rounded to −1, 0 or +1, "
        "so that a product with them needs only sums."
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 520" role="img" '
        'font-family="Helvetica, Arial, sans-serif">'
        f"<title>{title}</title>"
        '<rect width="720" height="520" rx="8" fill="#ffffff"/>' + "".join(parts) + "</svg>\n"
    )


if __name__ == "__main__":
    (Path(__file__).parent / "overview.svg").write_text(draw())
