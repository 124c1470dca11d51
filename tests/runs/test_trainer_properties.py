"""Whatever stands in the files of trainers, a run is read: they are no part of the model, and others wrote them."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggship.runs.curve import trainer_document
from ggship.runs.model import History
from ggship.runs.trainers import Evidence, axolotl, llama_factory, recognise, swift, torchtune

WORDS = st.sampled_from(
    ["alpaca", "chat_template", "jinja", "tokenizer_default_fallback_x", "2e-4", "1e999", "/a/b", "{{ x }}"]
)
NAMES = st.sampled_from(["type", "path", "format", "lr", "_component_", "source", "prompt_template"]) | st.text(
    max_size=4
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
KEYS = sorted(
    {*swift._NAMES, *llama_factory._NAMES, *llama_factory._IN_FORM, *axolotl._NAMES, *torchtune._NAMES}
    | {
        *torchtune._IN,
        "datasets",
        "swift_version",
        "use_chat_template",
        "chat_template_jinja",
        "finetuning_type",
        "axolotl_config_path",
    }
)
FILES = ("args.json", "training_args.yaml", "llamaboard_config.yaml", "torchtune_config.yaml", "README.md", "debug.log")


def written(name: str, values: dict[str, object]) -> str:
    """JSON, which is YAML too, as that file would hold it."""
    text = json.dumps(values, indent=2)
    if name == "README.md":
        return f"---\ntags: [axolotl]\n---\n<summary>See axolotl config</summary>\n```yaml\n{text}\n```\n"
    return f"[INFO] config:\n{text}\n" if name == "debug.log" else text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FILES), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_value_of_any_field_is_read_or_left_out(name, values):
    marks = {"args.json": "swift_version", "training_args.yaml": "finetuning_type", "debug.log": "axolotl_config_path"}
    values = {"top.template": "x", marks.get(name, "finetuning_type"): "x", **values}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / name).write_text(written(name, values), "utf-8", "surrogatepass")
        evidence = Evidence((root,), root, {"peft_type": "LORA"}, frozenset(), History(), tokenizer_saved=False)
        trainer, training = recognise(evidence)
    assert trainer is not None
    for setting in training.settings:
        numbers = setting.value if isinstance(setting.value, tuple) else (setting.value,)
        assert all(not isinstance(number, float) or math.isfinite(number) for number in numbers)
        assert setting.name in ("system",) or "/a/b" not in str(setting.value)
    json.dumps([trainer_document(trainer), [list(map(str, training.prompts))]], allow_nan=False)
