"""A record of the archive as text for people."""

from __future__ import annotations

import dataclasses

from bbtheory.archive import Archived
from bbtheory.layout import lay_out
from bbtheory.tables import format_table


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
    if record.result is not None:
        fields = {
            field.name: getattr(record.result, field.name) for field in dataclasses.fields(record.result)
        }
        for sheet in lay_out(fields, made.get("cell_seconds", ())):
            parts.append((f"{sheet.title}\n" if sheet.title else "") + format_table(sheet.header, sheet.rows))
    return "\n\n".join(parts) + "\n"
