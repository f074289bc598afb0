"""Random walks"""

from figures._drawing import LOOKS, line

SOURCES = ("walk",)
PAPER = "none"


def draw(figure, result):
    axes = figure.subplots()
    for path in result.paths:
        line(axes, "walk", range(len(path)), path, LOOKS[0])
    return f"n = {len(result.paths)} walks"
