"""What MkDocs calls while it builds the site: generated pages, and equations as MathML.

Equations are turned into MathML as the site is built, so that pages load no script to show them.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert  # pyright: ignore[reportMissingImports]  # extra docs
from mkdocs.exceptions import PluginError  # pyright: ignore[reportMissingImports]  # extra docs
from mkdocs.structure.files import File, Files  # pyright: ignore[reportMissingImports]  # extra docs

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "build" / "figures"
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_LOADED = re.compile(r"""<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//""")
_FUNCTION = re.compile(r"<m[io]>(ln|det|max|min)</m[io]>")
# what a page asks for, made as the site is built
_GALLERY, _SWEEPS = "<!-- gallery -->", "<!-- sweeps -->"


def on_startup(command: str, dirty: bool) -> None:
    """Let the pages' generators be found, where the checkout is not installed."""
    sys.path.insert(0, str(ROOT))


def on_config(config: Any) -> Any:
    """Add the generated pages to the navigation."""
    from docs import _reference

    generated = [{"Verdicts": "verdicts.md"}, {"Figures": "figures.md"}, {"Reference": _reference.nav()}]
    config["nav"] = [*config["nav"], *generated]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages: verdicts, figures, a page for every module."""
    from docs import _gallery, _reference, _verdicts

    checks = _verdicts.judge_all()
    _shared[_GALLERY] = _gallery.captions("gallery", checks)
    _shared[_SWEEPS] = f"```\n{_run('experiments', 'all', '--cost').rstrip()}\n```"
    pages = _reference.pages()
    pages["verdicts.md"] = _VERDICTS + _verdicts.full_page(checks)
    _run("figures")
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FIGURES.glob("*.json"))]
    pages["figures.md"] = _FIGURES + "\n\n".join(_figure(note) for note in notes) + "\n"
    for note in notes:
        for name in note["files"]:
            files.append(File.generated(config, f"figures/{name}", abs_src_path=str(FIGURES / name)))
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Put what is made where a page asks for it."""
    for marker, text in _shared.items():
        markdown = markdown.replace(marker, text)
    return markdown


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    """Turn equations into MathML."""
    return _FORMULA.sub(_mathml, content)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """See to it that a page loads nothing from elsewhere, and leaves no equation to a script."""
    if _LOADED.search(output) or 'class="arithmatex"' in output:
        raise PluginError(f"{page.file.src_uri} must load nothing and hold its equations as MathML")
    return output


_shared: dict[str, str] = {}

_VERDICTS = """# Verdicts

Every claim of both papers and of this package's own theory that has been made checkable, judged by the
tracked records. A refuted claim is a result; a claim without a record is undecided. The rule of each check
stands in its file, `paper_checks/NAME.py`. `python -m paper_checks` judges anew.

"""
_FIGURES = """# Figures

Every figure that has its records, as `python -m figures` draws it, with the numbers shown as CSV.

"""


def _run(module: str, *arguments: str) -> str:
    """Run a command of this checkout and return what it prints."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise PluginError(f"python -m {module}: {done.stderr}")
    return done.stdout


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    formula = convert(html.unescape(found[2]).strip(), display=display)
    # as names, functions would stand without a space between neighbours
    return _FUNCTION.sub(r'<mo form="prefix" lspace="0.17em" rspace="0.17em">\1</mo>', formula)


def _figure(note: dict[str, Any]) -> str:
    from bbtheory.tables import escape_markdown

    picture, numbers = note["files"]
    caption, paper = (escape_markdown(note[part]) for part in ("caption", "paper"))
    made = [f"`results/{source['record']}`" for source in note["sources"]] or ["theory alone"]
    return "\n\n".join(
        [
            f"## {note['title']}",
            f"![{note['title']}](figures/{picture})",
            caption,
            f"{paper}. Drawn from {', '.join(made)}. [Numbers (CSV)](figures/{numbers})",
        ]
    )
