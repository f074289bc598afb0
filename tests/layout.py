"""What is wrong with the layout of a drawn figure: text cut off, text over text, legends over data."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

SLACK = 1.5  # pixels: glyphs are rounded to whole ones


def faults(figure: Figure) -> list[str]:
    """Return what is cut off or overlaps, in words."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts: list[tuple[str, Bbox]] = []
    for axes in figure.axes:
        titles = [axes.title, axes._left_title, axes._right_title]
        ticks = []
        if axes.axison:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                for tick in axis.get_major_ticks():
                    if low <= tick.get_loc() <= high and tick.label1.get_visible():
                        ticks.append(tick.label1)
            titles += [axes.xaxis.label, axes.yaxis.label]
        texts += [
            (text.get_text(), text.get_window_extent(renderer)) for text in (*titles, *ticks, *axes.texts)
        ]
        legend = axes.get_legend()
        if legend is not None:
            texts += [(t.get_text(), t.get_window_extent(renderer)) for t in legend.get_texts()]
    for text in (figure._supxlabel, figure._suptitle):
        if text is not None:
            texts.append((text.get_text(), text.get_window_extent(renderer)))
    for legend in figure.legends:
        texts += [(t.get_text(), t.get_window_extent(renderer)) for t in legend.get_texts()]
    texts = [(text, box) for text, box in texts if text.strip()]
    found = []
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in texts:
        if box.x0 < -SLACK or box.y0 < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK:
            found.append(f"{text!r} is cut off")
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        if min(a.x1, b.x1) - max(a.x0, b.x0) > SLACK and min(a.y1, b.y1) - max(a.y0, b.y0) > SLACK:
            found.append(f"{one!r} overlaps {other!r}")
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is None:
            continue
        inside = [t.get_window_extent(renderer) for t in legend.get_texts()]
        inside += [h.get_window_extent(renderer) for h in legend.legend_handles]
        box = Bbox.union(inside)
        for line in axes.lines:
            if line.get_gid() is None:
                continue
            drawn = line.get_transform().transform(line.get_xydata())
            drawn = drawn[np.isfinite(drawn).all(axis=1)]
            hidden = (drawn > (box.x0, box.y0)).all(axis=1) & (drawn < (box.x1, box.y1)).all(axis=1)
            if hidden.any():
                found.append(f"{hidden.sum()} points of {line.get_label()!r} lie under a legend")
    return found
