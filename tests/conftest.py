"""What tests of records share: smoke runs of the real experiments, made on request, once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from bbtheory import archive
from bbtheory.catalog import Catalog
from experiments._driver import main


class SmokeRuns:
    """An archive of smoke records that grows as tests ask for them."""

    def __init__(self, results: Path):
        self.results = results
        self.catalog = Catalog("experiments")

    def record(self, name: str) -> archive.Archived:
        """Return an experiment's smoke record, run on first request; skip the test where it cannot run."""
        module = self.catalog.load(name)
        path = archive.record_path(self.results, name, "smoke", module.SMOKE)
        if not path.exists():
            assert main([name, "--preset", "smoke", "--results", str(self.results)]) == 0
        found = archive.read(path, module.Result)
        if found.status != archive.OK:
            pytest.skip(f"{name}: {found.status}")
        return found


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> SmokeRuns:
    return SmokeRuns(tmp_path_factory.mktemp("results"))
