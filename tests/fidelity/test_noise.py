"""How far llama.cpp and transformers are apart on a bare model: what no adapter can be exacter than."""

from __future__ import annotations

import pytest

from .models import ARCHITECTURES
from .prompts import compare

pytestmark = pytest.mark.hf


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_bare_model_is_the_same_in_both_worlds(name, tiny_base, distribution, record_property):
    base = tiny_base(name)
    difference = compare(base.expected, distribution(base.gguf))
    record_property("noise", {"architecture": name, "largest": difference.largest, "kl": difference.kl})
    print(name, difference)
    assert difference.largest <= base.architecture.noise
