"""docs/fidelity.md tells of every cell that the matrix has, and of no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cells import CELLS
from .models import ARCHITECTURES
from .table import render

DOCUMENT = Path(__file__).parents[2] / "docs" / "fidelity.md"
HINT = "run scripts/fidelity-table"


def made_up_results():
    difference = {"largest": 3e-6, "kl": 4e-13}
    return {
        "noise": [{"architecture": name, **difference} for name in ARCHITECTURES],
        "upstream": [{"option": "rslora", "largest": 4.1, "kl": 1.0}],
        "cell": [
            {"name": cell.name, "route": cell.route, "effect": 4.0, "results": {"merged": difference}} for cell in CELLS
        ],
    }


def rows(text: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("|\n").split("|")] for line in text.splitlines() if line[:1] == "|"]


def without_figures(text: str) -> list[list[str]]:
    return [[cell if cell.startswith("`") else bool(cell) for cell in row[1:]] + row[:1] for row in rows(text)]


def test_the_document_has_a_place_for_every_cell():
    written = DOCUMENT.read_text(encoding="utf-8")
    assert without_figures(written) == without_figures(render(made_up_results())), HINT
    assert f"{len(CELLS)} cells" in written, HINT


def test_a_cell_that_went_another_way_makes_no_document():
    results = made_up_results()
    results["cell"][0]["route"] = "refused:dora"
    with pytest.raises(ValueError, match=CELLS[0].name):
        render(results)


def test_a_cell_that_did_not_run_makes_no_document():
    results = made_up_results()
    del results["cell"][0]
    with pytest.raises(KeyError):
        render(results)


def test_every_cell_has_a_name_of_its_own_and_the_matrix_is_as_large_as_it_says():
    assert len({cell.name for cell in CELLS}) == len(CELLS)
    assert len({(cell.architecture.name, cell.option.words) for cell in CELLS}) == len(CELLS)
    assert len(CELLS) >= 150
