"""Random walks"""

SOURCES = ("walk",)
PAPER = "none"


def draw(figure, result):
    axes = figure.subplots()
    axes.plot(result.paths.T)
    return f"n = {len(result.paths)} walks"
