"""Over the whole matrix, ggship ships exactly what PEFT computes, or refuses with the reason."""

from __future__ import annotations

import pytest

from .adapters import train
from .cells import CELLS, Cell
from .prompts import compare, reference
from .routes import refusal_code, ship

pytestmark = pytest.mark.hf

# A cell that changes less than this proves nothing (nats).
LEAST_EFFECT = 0.05

EXACT = [cell for cell in CELLS if not cell.refused]
REFUSED = [cell for cell in CELLS if cell.refused]


@pytest.mark.parametrize("cell", EXACT, ids=lambda cell: cell.name)
def test_what_is_shipped_is_what_was_trained(
    cell: Cell, tiny_base, warm_runner, distribution, record_property, tmp_path
):
    base = tiny_base(cell.architecture.name)
    run, tuned = train(cell.option, cell.architecture, base.model(), tmp_path, base.folder)
    expected = reference(tuned)
    effect = compare(expected, base.expected)

    route, shipped = ship(run, base.folder, base.gguf, tmp_path, warm_runner)

    found = {each.way: compare(expected, distribution(each.model, each.adapter)) for each in shipped}
    results = {way: {"largest": difference.largest, "kl": difference.kl} for way, difference in found.items()}
    record_property("cell", {"name": cell.name, "route": route, "effect": effect.largest, "results": results})
    assert route == cell.route
    assert effect.largest > LEAST_EFFECT
    for difference in found.values():
        assert difference.largest <= cell.architecture.tolerance
        assert difference.kl <= cell.architecture.kl_tolerance


@pytest.mark.parametrize("cell", REFUSED, ids=lambda cell: cell.name)
def test_what_cannot_be_exact_is_refused_with_its_reason(cell: Cell, tiny_base, warm_runner, record_property, tmp_path):
    base = tiny_base(cell.architecture.name)
    run, _ = train(cell.option, cell.architecture, base.model(), tmp_path, base.folder)

    code = refusal_code(run, base.folder, base.gguf, tmp_path, warm_runner)

    record_property("cell", {"name": cell.name, "route": f"refused:{code}"})
    assert code == cell.refused
