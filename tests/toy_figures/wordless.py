"""A figure without a caption"""

SOURCES = ()
PAPER = "none"


def draw(figure):
    figure.subplots()
