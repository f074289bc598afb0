"""``python -m bbtheory.solve``: on-rates that a traffic budget implies, degrees that on-rates call for."""
