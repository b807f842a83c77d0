"""Draw the book's vector graphics: python book/drawings.py

Each drawing except the logo has a white card behind it, so that it looks the same on a dark page.
"""

import random
from pathlib import Path

from PIL import Image, ImageColor

FLOATS, MINUS, PLUS, INK, ZERO = "#6b6b6b", "#b8452e", "#2a6f97", "#222222", "#e4e4e4"
COLOR = {-1: MINUS, 0: ZERO, 1: PLUS}
SIGN = {-1: "−", 0: "", 1: "+"}


def square(x, y, size, fill, opacity=1.0, radius=0):
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{size:g}" height="{size:g}" rx="{radius:g}" '
        f'fill="{fill}" fill-opacity="{opacity:.2f}"/>'
    )


def text(x, y, words, size=20, fill=INK):
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="middle" fill="{fill}">{words}</text>'


def arrow(x, y, words, size):
    return f'<path d="M{x:g} {y:g} h58 m-9 -7 l9 7 l-9 7" fill="none" stroke="{INK}" stroke-width="2"/>' + text(
        x + 29, y - 14, words, size
    )


def picture(width, height, title, parts, card=True):
    """Return a complete SVG file. A screen reader reads `title` aloud."""
    background = f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>' if card else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="Helvetica, Arial, sans-serif"><title>{title}</title>{background}{"".join(parts)}</svg>\n'
    )


def pixel(row, column):
    """Return the color of one pixel of a 12 x 12 landscape: sky, sun, and two hills."""
    if (row - 3) ** 2 + (column - 8.5) ** 2 < 4.5:
        return "#f2b134"
    if row >= 11 - column / 2:
        return "#3f7d4f"
    if row >= 4 + column / 1.6:
        return "#6ba368"
    return "#a9d3e8"


def image_to_tokens(x, y, size):
    """Draw an image that is cut into 3 x 3 patches, each of which becomes a token. Width 720, height 250."""
    parts = []
    for row in range(12):
        for column in range(12):
            parts.append(square(x + 30 + 14 * column, y + 60 + 14 * row, 14.3, pixel(row, column)))
            across, down = 14 * column + 8 * (column // 4), 14 * row + 8 * (row // 4)
            parts.append(square(x + 286 + across, y + 52 + down, 14.3, pixel(row, column)))
    for patch in range(9):
        for part in range(16):
            color = pixel(4 * (patch // 3) + part // 4, 4 * (patch % 3) + part % 4)
            parts.append(square(x + 560 + 16 * patch, y + 60 + 10.5 * part, 10.7, color))
    names = [(114, "image"), (378, "patches"), (628, "tokens")]
    parts += [text(x + across, y + 38, words, size) for across, words in names]
    return [*parts, arrow(x + 212, y + 144, "cut", 0.85 * size), arrow(x + 486, y + 144, "flatten", 0.85 * size)]


def weights_to_sums(x, y, size):
    """Draw latent weights, their ternary values, and the sum that a product becomes. Width 720, height 250."""
    normal = random.Random(3)
    weights = [[normal.gauss(0, 1) for _ in range(6)] for _ in range(6)]
    scale = sum(abs(w) for row in weights for w in row) / 36
    ternary = [[max(-1, min(1, round(w / scale))) for w in row] for row in weights]
    parts = []
    for row in range(6):
        for column in range(6):
            w, t = weights[row][column], ternary[row][column]
            across, down = x + 28 * column, y + 56 + 28 * row
            parts.append(square(across + 30, down, 26, MINUS if w < 0 else PLUS, min(1, 0.12 + abs(w) / 2.5)))
            parts += [
                square(across + 294, down, 26, COLOR[t]),
                text(across + 307, down + 19, SIGN[t], 19, "#ffffff"),
            ]

    # One column of the ternary matrix, written out: which inputs are added, and which are subtracted.
    for row, t in enumerate(row[0] for row in ternary):
        term = f"{SIGN[t]} x{row + 1}" if t else "skip"
        parts.append(text(x + 628, y + 75 + 28 * row, term, 20, COLOR[t] if t else FLOATS))
    names = [(114, "weights"), (378, "−1, 0, or +1"), (628, "only sums")]
    parts += [text(x + across, y + 36, words, size) for across, words in names]
    return [*parts, arrow(x + 212, y + 138, "round", 0.85 * size), arrow(x + 476, y + 138, "add", 0.85 * size)]


OVERVIEW = (
    "An image is cut into patches that become tokens; weights are rounded to −1, 0, or +1, "
    "so that a product with them needs only sums."
)


def overview():
    """Draw the picture for the README, and for the first page on a narrow screen."""
    return picture(720, 520, OVERVIEW, image_to_tokens(0, 0, 20) + weights_to_sums(0, 270, 20))


def banner():
    """Draw the same picture in one row, for the first page on a wide screen."""
    return picture(1410, 260, OVERVIEW, image_to_tokens(0, 4, 28) + weights_to_sums(700, 4, 28))


MARK = [[1, 0, -1], [-1, 1, 0], [0, -1, 1]]
MARK_COLOR = {**COLOR, 0: "#9a9a9a"}  # visible on white and on black, because the logo has no card


def logo():
    """Draw a ternary matrix of 3 x 3."""
    parts = []
    for row in range(3):
        for column in range(3):
            t, x, y = MARK[row][column], 4 + 32 * column, 4 + 32 * row
            parts.append(square(x, y, 28, MARK_COLOR[t], radius=5))
            parts.append(text(x + 14, y + 22, SIGN[t], 26, "#ffffff"))
    return picture(100, 100, "A matrix of three by three squares: plus, nothing, or minus.", parts, card=False)


def icon():
    """Draw the logo without signs, as an image of 48 x 48 pixels."""
    image = Image.new("RGBA", (48, 48))
    for row in range(3):
        for column in range(3):
            x, y = 16 * column, 16 * row
            color = ImageColor.getrgb(MARK_COLOR[MARK[row][column]])
            image.paste(color, (x + 1, y + 1, x + 15, y + 15))
    return image


STAGES = [
    ("image", "[B, H, W, C]", "Resizing, augmentation"),
    ("resized image", "[B, S, S, C]", "Patches"),
    ("patches", "[B, N, P·P·C]", "PatchEmbedding"),
    ("tokens", "[B, N, D]", "TransformerBlockMML, L times"),
    ("tokens", "[B, N, D]", "LayerNormalization, Flatten"),
    ("features", "[B, N·D]", "DenseMML, twice"),
    ("features", "[B, F]", "Dense"),
    ("logits", "[B, K]", None),
]


def shapes():
    """Draw the model as a column of tensors, with their shapes and the layers between them."""
    parts = []
    for index, (name, shape, layer) in enumerate(STAGES):
        y = 16 + 84 * index
        parts.append(f'<rect x="60" y="{y}" width="400" height="44" rx="6" fill="{PLUS}" fill-opacity="0.12"/>')
        parts += [text(160, y + 29, name, 19), text(360, y + 29, shape, 19, PLUS)]
        if layer:
            parts.append(
                f'<path d="M160 {y + 48} v30 m-6 -8 l6 8 l6 -8" fill="none" stroke="{INK}" stroke-width="2"/>'
            )
            parts.append(text(330, y + 70, layer, 17, FLOATS))
    title = "From the image to the logits: each tensor with its shape, and the layers between them."
    return picture(520, 84 * len(STAGES), title, parts)


DRAWINGS = {"overview.svg": overview, "banner.svg": banner, "shapes.svg": shapes, "_static/logo.svg": logo}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (Path(__file__).parent / name).write_text(draw(), encoding="utf-8")
    icon().save(Path(__file__).parent / "_static" / "favicon.ico")
