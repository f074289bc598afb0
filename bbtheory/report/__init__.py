"""The HTML report: verdicts, figures, records and an equilibrium explorer in one file."""
