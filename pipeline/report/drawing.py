"""Marks, axes and pictures as HTML and SVG; every text that comes from outside goes through `text`.

Colours are classes of the style sheet, so that they follow a reader's choice of light or dark: ``c0`` is that of all
detections, ``c1`` and so on those of classes. There are no style attributes, which the page's policy would refuse.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.console import printable

COLORS = 7  # of groups: that of all, and of six classes, which then repeat
DIVERGING = np.array([(33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43)])
SEQUENTIAL = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)])
Pixels = npt.NDArray[np.uint8]


def text(value: object) -> str:
    """Text from anywhere as HTML that shows it, in an attribute too."""
    return html.escape(printable(str(value)), quote=True)


def mark(tag: str, *content: str, **attributes: object) -> str:
    """An element; `content` is HTML, attributes are texts. ``class_`` stands for class, ``font_size`` for font-size."""
    shown = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{text(_short(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{shown}>{''.join(content)}</{tag}>"


def tell(value: float) -> str:
    """A number with three digits that count, for people.

    Examples
    --------
    >>> [tell(value) for value in (0.0, 1234567, 0.012345, -3.0, float("nan"))]
    ['0', '1,230,000', '0.0123', '-3', '–']
    """
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    if 1e-4 <= abs(rounded) < 1e9:
        return f"{rounded:,.10f}".rstrip("0").rstrip(".")
    return f"{rounded:.3g}"


def color(number: int) -> str:
    """The class of a group's colour."""
    return f"c{number}" if number < COLORS else f"c{(number - 1) % (COLORS - 1) + 1}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """A table of texts; the first column names the rows."""
    top = mark("tr", *(mark("th", text(name), scope="col") for name in head))
    body = (
        mark("tr", mark("th", text(row[0]), scope="row"), *(mark("td", text(cell)) for cell in row[1:])) for row in rows
    )
    whole = mark("table", mark("caption", text(caption)), mark("thead", top), mark("tbody", *body))
    return mark("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def figure(picture: str, caption: str, extra: str = "") -> str:
    """A picture and what it shows."""
    return mark("figure", picture, extra, mark("figcaption", text(caption)))


def svg(width: float, height: float, label: str, *content: str, class_: str | None = None) -> str:
    """A drawing; `label` says what is to be seen, for those who do not see it."""
    box = f"0 0 {_short(width)} {_short(height)}"
    return mark(
        "svg",
        mark("title", text(label)),
        *content,
        viewBox=box,
        width=width,
        height=height,
        role="img",
        aria_label=label,
        class_=class_,
    )


def label(x: float, y: float, value: object, anchor: str = "start", class_: str | None = None) -> str:
    """Text in a drawing."""
    return mark("text", text(value), x=x, y=y, text_anchor=anchor, class_=class_)


def picture(pixels: Pixels, x: float, y: float, width: float, height: float) -> str:
    """Pixels (y, x, 3) in a drawing, each a sharp rectangle."""
    return mark(
        "image",
        href=png(pixels),
        x=x,
        y=y,
        width=width,
        height=height,
        preserveAspectRatio="none",
        image_rendering="pixelated",
    )


def png(pixels: Pixels) -> str:
    """Pixels, (y, x) or (y, x, 3), as a PNG in a URL."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def paint(shares: npt.NDArray[np.float64], palette: npt.NDArray[np.int_]) -> Pixels:
    """Colours of a palette for values from 0 to 1, any shape; (..., 3)."""
    stops = np.linspace(0, 1, len(palette))
    channels = [np.interp(shares.clip(0, 1), stops, palette[:, k]) for k in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def is_dark(pixel: npt.NDArray[np.uint8]) -> bool:
    """Whether white is to be read on a colour, not black."""
    red, green, blue = pixel.tolist()
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140


def hex_color(pixel: npt.NDArray[np.uint8]) -> str:
    """A colour as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*pixel.tolist())


@dataclass(frozen=True)
class Frame:
    """Two axes; values to places in a drawing.

    Parameters
    ----------
    width, height : float
        Of the drawing, margins included.
    x, y : tuple of float
        Smallest and largest values.
    left, bottom : float
        Room for what is written along the axes.
    """

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 52.0
    bottom: float = 40.0
    top: float = 10.0
    right: float = 12.0

    def place(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Places (n, 2) of values in the drawing."""
        across = (np.asarray(x, float) - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (np.asarray(y, float) - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return np.stack(
            [
                self.left + across * (self.width - self.left - self.right),
                self.height - self.bottom - up * (self.height - self.bottom - self.top),
            ],
            axis=-1,
        )

    def line(self, x: npt.ArrayLike, y: npt.ArrayLike, class_: str, closed: bool = False) -> str:
        """A line through values; `closed`, the area under it."""
        places = self.place(x, y)
        if closed:
            ends = self.place([np.asarray(x)[-1], np.asarray(x)[0]], [self.y[0]] * 2)
            places = np.concatenate([places, ends])
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in places.tolist())
        return mark("polygon" if closed else "polyline", points=points, class_=class_)

    def axes(self, x_name: str, y_name: str = "", y_ticks: bool = True) -> str:
        """Both axes with ticks and names."""
        parts = []
        for value in ticks(*self.x, most=max(int((self.width - self.left) / 50), 2)):
            across, down = self.place(value, self.y[0]).tolist()
            parts += [mark("line", x1=across, x2=across, y1=down, y2=down + 4, class_="axis")]
            parts += [label(across, down + 16, tell(value), "middle", "tick")]
        for value in ticks(*self.y, most=max(int(self.height / 45), 1)) if y_ticks else ():
            across, down = self.place(self.x[0], value).tolist()
            parts += [mark("line", x1=across, x2=self.width - self.right, y1=down, y2=down, class_="grid")]
            parts += [label(across - 6, down + 4, tell(value), "end", "tick")]
        (left, low), (right, high) = self.place(self.x, self.y).tolist()
        parts += [mark("line", x1=left, x2=right, y1=low, y2=low, class_="axis")]
        parts += [label((left + right) / 2, self.height - 4, x_name, "middle")]
        middle = (low + high) / 2
        turned = f"rotate(-90 12 {_short(middle)})"
        parts += [mark("text", text(y_name), x=12, y=middle, text_anchor="middle", transform=turned)] if y_name else []
        return "".join(parts)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values between two, at equal steps, ascending.

    Examples
    --------
    >>> ticks(0, 23)
    [0.0, 5.0, 10.0, 15.0, 20.0]
    """
    low, high = min(low, high), max(low, high)
    if not math.isfinite(high - low) or high == low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value: object) -> object:
    """Places with a tenth of a pixel, so that a page does not grow by digits nobody sees."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
