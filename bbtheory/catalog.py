"""Folders where one file is one item: names, first lines and definitions, read without importing a file."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType

RESERVED = (
    "protocol",
)  # protocol.py says what an item holds; names with a leading underscore drive the items


class Catalog:
    """The items of a package: every public ``NAME.py`` in its folder but ``protocol.py``.

    Parameters
    ----------
    package : str
        Name of an importable package, such as ``"experiments"``.

    Raises
    ------
    ValueError
        If there is no such package.
    """

    def __init__(self, package: str):
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise ValueError(
                f"package must be a folder of modules, got {package!r}: run from the checkout that holds it"
            )
        self.package = package
        self.folder = Path(found.submodule_search_locations[0])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The items, sorted."""
        files = (p.stem for p in self.folder.glob("*.py"))
        return tuple(sorted(n for n in files if not n.startswith("_") and n not in RESERVED))

    def check(self, name: str) -> str:
        """Return ``name`` if it is an item, else raise ValueError with the nearest one and all there are."""
        if name in self.names:
            return name
        near = difflib.get_close_matches(name, self.names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        known = ", ".join(self.names) or "none"
        raise ValueError(f"unknown name {name!r} in {self.package}{hint}; there are: {known}")

    def choose(self, names: Sequence[str]) -> list[str]:
        """Return the named items once each, in the order given; ``all`` stands for every item."""
        if "all" in names:
            return list(self.names)
        return list(dict.fromkeys(self.check(name) for name in names))

    def load(self, name: str) -> ModuleType:
        """Import one item."""
        return importlib.import_module(f"{self.package}.{self.check(name)}")

    def path(self, name: str) -> Path:
        """Return the file of one item."""
        return self.folder / f"{self.check(name)}.py"

    def summary(self, name: str) -> str:
        """Return the first line of an item's docstring, without importing it."""
        return (ast.get_docstring(self._parsed(name)) or "").partition("\n")[0]

    def defined(self, name: str) -> set[str]:
        """Return the names an item defines at its top level, without importing it."""
        out = set()
        for node in self._parsed(name).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                out.add(node.name)
            elif isinstance(node, ast.Assign):
                out.update(target.id for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                out.add(node.target.id)
        return out

    def _parsed(self, name: str) -> ast.Module:
        path = self.path(name)
        try:
            return ast.parse(path.read_text(encoding="utf-8"), str(path))
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"{path} must be Python source: {error}") from None


def imported_modules(source: str, package: str = "") -> set[str]:
    """Return the dotted names that Python source imports anywhere, functions included.

    ``from a import b`` gives ``a.b``: b may be a module. Relative imports start from ``package``.
    """
    out = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            out.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            out.update(f"{base}.{alias.name}" for alias in node.names)
    return out
