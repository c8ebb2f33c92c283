# SPDX-License-Identifier: MPL-2.0
"""Plots as SVG, with readable axes and nothing else: lines with error bars
over a logarithmic x axis."""

from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 86, 170, 52, 64
COLOURS = ("#0b6e4f", "#c1440e", "#33658a", "#8a4f7d", "#7a6c00", "#444444")
FONT = "font-family='sans-serif' font-size='13'"


def short(value):
    """120,000 as 120k; what is below 10,000 as it is."""
    if value < 10000:
        return f"{value:g}"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"


def nice_step(top):
    """A step of 1, 2 or 5 times a power of ten, about five to the top."""
    raw = top / 5
    power = 10 ** floor(log10(raw))
    for factor in (1, 2, 5, 10):
        if factor * power >= raw:
            return factor * power
    return 10 * power


class Axis:
    """From values to places, with ticks."""

    def __init__(self, values, low, high, logarithmic, ticks=None):
        self.low, self.high, self.log = low, high, logarithmic
        if logarithmic:
            self.first, self.last = log10(min(values)), log10(max(values))
            if self.first == self.last:
                self.first, self.last = self.first - 0.5, self.last + 0.5
            if ticks is None:
                self.first, self.last = floor(self.first), ceil(self.last)
                ticks = [10 ** e for e in range(self.first, self.last + 1)]
            self.ticks = ticks
        else:
            step = nice_step(max(values))
            count = ceil(max(values) / step)
            self.first, self.last = 0, count * step
            self.ticks = [i * step for i in range(count + 1)]

    def place(self, value):
        at = log10(value) if self.log else value
        share = (at - self.first) / (self.last - self.first)
        return self.low + share * (self.high - self.low)


def text(x, y, words, anchor="middle", more=""):
    return (f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {FONT} "
            f"{more}>{escape(words)}</text>")


def frame(title, x_label, y_label, x, y):
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' "
        f"height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}'>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>",
        text(LEFT, 26, title, "start", "font-weight='bold'"),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x_label),
        text(0, 0, y_label, more=f"transform='translate(20,"
             f"{(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)'"),
    ]
    for tick in x.ticks:
        at = x.place(tick)
        parts.append(f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{TOP}' "
                     f"y2='{HEIGHT - BOTTOM}' stroke='#e4e4e4'/>")
        parts.append(text(at, HEIGHT - BOTTOM + 20, short(tick)))
    for tick in y.ticks:
        at = y.place(tick)
        parts.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{at:.1f}' "
                     f"y2='{at:.1f}' stroke='#e4e4e4'/>")
        parts.append(text(LEFT - 8, at + 4, short(tick), "end"))
    parts.append(f"<path d='M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}' "
                 f"fill='none' stroke='#333'/>")
    return parts


def line(points, x, y, colour):
    """A line through (x, y, low, high), with a bar from low to high."""
    parts = []
    path = " ".join(f"{x.place(p[0]):.1f},{y.place(p[1]):.1f}"
                    for p in points)
    parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' "
                 f"stroke-width='2'/>")
    for at, middle, low, high in points:
        px = x.place(at)
        parts.append(f"<line x1='{px:.1f}' x2='{px:.1f}' "
                     f"y1='{y.place(low):.1f}' y2='{y.place(high):.1f}' "
                     f"stroke='{colour}'/>")
        parts.append(f"<circle cx='{px:.1f}' cy='{y.place(middle):.1f}' "
                     f"r='3.5' fill='{colour}'/>")
    return parts


def plot(title, x_label, y_label, series, y_log=False, x_ticks=None):
    """`series` maps a name to points (x, y, low, high), x above 0."""
    points = [p for line_ in series.values() for p in line_]
    x = Axis([p[0] for p in points], LEFT, WIDTH - RIGHT, True,
             x_ticks or sorted({p[0] for p in points}))
    lows = [max(p[2], 1e-9) for p in points]
    y = Axis(lows + [p[3] for p in points], HEIGHT - BOTTOM, TOP, y_log)
    parts = frame(title, x_label, y_label, x, y)
    for i, (name, line_points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        parts += line(line_points, x, y, colour)
        at = TOP + 10 + 22 * i
        parts.append(f"<line x1='{WIDTH - RIGHT + 14}' "
                     f"x2='{WIDTH - RIGHT + 38}' y1='{at}' y2='{at}' "
                     f"stroke='{colour}' stroke-width='3'/>")
        parts.append(text(WIDTH - RIGHT + 44, at + 4, name, "start"))
    return "\n".join(parts + ["</svg>"]) + "\n"
