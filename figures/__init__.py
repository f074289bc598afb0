"""One file = one figure: it shows data.

A figure is one file ``figures/NAME.py``; discovery does the rest. It holds

its docstring
    first line: the title; then what to look at.
``SOURCES``
    the experiments whose records it draws; empty for a figure of theory alone.
``PAPER``
    where its subject stands in the papers.
``draw(figure, *results) -> str``
    draws the ``Result`` of each source on an empty Matplotlib figure in the house style, with units and n on
    every axis, and returns the caption, with n in it. It computes no data: that is an experiment's work.
"""
