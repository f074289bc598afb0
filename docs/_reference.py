"""The reference: a page for every public module, written from its docstrings by mkdocstrings."""

from __future__ import annotations

from bbtheory.catalog import Catalog
from bbtheory.tables import escape_markdown, format_markdown

# in the order of the reference: package, and what it is called there
PACKAGES = {
    "bbtheory": "bbtheory: records and ground",
    "bbtheory.theory": "theory",
    "bbtheory.theory.derivations": "theory.derivations",
    "bbtheory.simulate": "simulate",
    "bbtheory.train": "train",
    "bbtheory.measure": "measure",
    "bbtheory.fit": "fit",
    "bbtheory.solve": "solve",
    "bbtheory.report": "report",
}
# what files that people add stand on
PROTOCOLS = {
    "experiments.protocol": "What an experiment holds",
    "figures._drawing": "What figures draw with",
    "paper_checks.protocol": "What a check holds",
}


def modules(package: str) -> list[str]:
    """Return the public modules of a package; compiled kernels are what their callers say."""
    return [name for name in Catalog(package).names if not name.endswith("_kernel")]


def pages() -> dict[str, str]:
    """Return every page of the reference, by its path in the site."""
    out = {"reference/index.md": _start()}
    for package in PACKAGES:
        out[f"{_folder(package)}/index.md"] = _overview(package)
        for name in modules(package):
            out[f"{_folder(package)}/{name}.md"] = f"::: {package}.{name}\n"
    for name in PROTOCOLS:
        out[f"reference/{name}.md"] = f"::: {name}\n"
    return out


def nav() -> list:
    """Return the reference's part of the navigation."""
    packages: list = ["reference/index.md"]
    for package, title in PACKAGES.items():
        listed = [{name: f"{_folder(package)}/{name}.md"} for name in modules(package)]
        packages.append({title: [f"{_folder(package)}/index.md", *listed]})
    return [*packages, *({title: f"reference/{name}.md"} for name, title in PROTOCOLS.items())]


def _folder(package: str) -> str:
    return "reference/" + package.replace(".", "/")


def _start() -> str:
    lines = [
        "# Reference",
        "",
        "Written from the docstrings. Names that are used most are also exported above:",
    ]
    lines += [
        "`bbtheory`, `bbtheory.simulate`, `bbtheory.train` and `bbtheory.measure` import them on first use."
    ]
    lines += [""]
    for package, title in PACKAGES.items():
        lines.append(f"- [{title}]({package.replace('.', '/')}/index.md)")
    lines += [f"- [{title}]({name}.md)" for name, title in PROTOCOLS.items()]
    return "\n".join(lines) + "\n"


def _overview(package: str) -> str:
    catalog = Catalog(package)
    rows = []
    for name in modules(package):
        public = sorted(each for each in catalog.defined(name) if not each.startswith("_"))
        names = " ".join(f"`{each}`" for each in public if not each.isupper())
        summary = escape_markdown(catalog.summary(name))
        rows.append([f"[{name}]({name}.md)", summary, names])
    table = format_markdown(["module", "what it is", "names"], rows)
    return f"# {PACKAGES[package]}\n\nModules of `{package}`.\n\n{table}\n"
