"""Train through LLaMA-Board's own code: its form with its defaults, a few fields filled in, and its Start button."""

from __future__ import annotations

import json
import sys

from llamafactory.webui import interface
from llamafactory.webui.engine import Engine

FILLED = {
    "top.lang": "en",
    "top.model_name": "Custom",
    "top.model_path": "tiny/qwen2",
    "top.finetuning_type": "lora",
    "top.template": "qwen3_nothink",
    "top.quantization_bit": "none",
    "train.dataset_dir": "data",
    "train.dataset": ["sums_chat"],
    "train.learning_rate": "2e-2",
    "train.num_train_epochs": "2.0",
    "train.compute_type": "fp32",
    "train.cutoff_len": 256,
    "train.batch_size": 2,
    "train.gradient_accumulation_steps": 1,
    "train.val_size": 0.2,
    "train.logging_steps": 2,
    "train.save_steps": 10,
    "train.enable_thinking": False,
    "train.report_to": "none",
    "train.lora_rank": 4,
    "train.lora_alpha": 8,
    "train.extra_args": json.dumps({"optim": "adamw_torch", "use_cpu": True, "seed": 7}),
}

if __name__ == "__main__":
    kept: list[Engine] = []

    class Kept(Engine):
        """The engine that the form is built on, within reach."""

        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)
            kept.append(self)

    interface.Engine = Kept
    interface.create_ui()
    engine = kept[0]
    fields = {**FILLED, "train.output_dir": sys.argv[1]}
    form = engine.manager.get_base_elems() | {
        element
        for element in engine.manager.get_elem_list()
        if engine.manager.get_id_by_elem(element).startswith("train.")
    }
    data = {element: element.value for element in form if hasattr(element, "value")}
    unknown = fields.keys() - {engine.manager.get_id_by_elem(element) for element in data}
    if unknown:
        sys.exit(f"LLaMA-Board has no such fields: {sorted(unknown)}")
    for element in data:
        name = engine.manager.get_id_by_elem(element)
        data[element] = fields.get(name, data[element])
    for _ in engine.runner.run_train(data):
        pass
