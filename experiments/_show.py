"""A record of the archive as text for people."""

from __future__ import annotations

import dataclasses
import textwrap

from bbtheory.archive import Archived
from bbtheory.layout import Layout, lay_out
from bbtheory.tables import format_table

_WIDTH = 110


def readable(record: Archived) -> str:
    """Return a record's provenance, its values, a table for each list of rows and each length of array."""
    made = record.provenance
    dirty = " with changes" if made["dirty"] else ""
    parts = [
        f"{record.experiment}, preset {record.preset}: {record.status}\n"
        f"  {record.path}\n"
        f"  seeds {', '.join(map(str, record.seeds)) or 'none'}; {made['seconds']} s on {made['device']}, "
        f"{made['date']}, commit {made['commit'][:12]}{dirty}"
    ]
    result = record.result
    if result is not None:
        fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
        parts += texts(lay_out(fields, made.get("cell_seconds", ())))
    return "\n\n".join(parts) + "\n"


def texts(layout: Layout) -> list[str]:
    """Return aligned tables, then the long texts as paragraphs."""
    tables = [
        (f"{sheet.title}\n" if sheet.title else "") + format_table(sheet.header, sheet.rows)
        for sheet in layout.sheets
    ]
    return tables + [
        textwrap.fill(f"{name}: {told}", _WIDTH, subsequent_indent="  ") for name, told in layout.notes
    ]
