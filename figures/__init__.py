"""One file = one figure: it shows data.

A figure is one file ``figures/NAME.py``; discovery does the rest. It holds

its docstring
    first line: the title; then what to look at.
``SOURCES``
    the experiments whose records it draws; empty for a figure of theory alone.
``PARTIAL``
    True where it draws those of its sources that have a record: ``draw`` gets None for the others. Left
    out, a figure needs them all.
``PAPER``
    where its subject stands in the papers.
``draw(figure, *results) -> str``
    draws the ``Result`` of each source on an empty `Drawing`, a Matplotlib figure in the house style
    (bbtheory/house.mplstyle), with units and n on every axis, and returns the caption, with n in it. It
    draws by the functions of ``_drawing``, which keep the numbers: NAME.csv is what NAME.svg shows. It
    computes no data: that is an experiment's work.
"""
