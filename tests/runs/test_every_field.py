"""Every field that PEFT's LoraConfig has is held to the type that PEFT gives it."""

from __future__ import annotations

import dataclasses
import json
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from ggship.errors import BadFile
from ggship.runs import read_run

pytestmark = pytest.mark.hf

VALUES: tuple[Any, ...] = (True, 3, 0.5, "text", ["a"], {"a": "b"})
# Written by older releases, or more than the annotation says: PEFT takes any number there.
MORE: dict[str, tuple[type, ...]] = {"lora_alpha": (float,), "use_bdlora": (bool,), "layers_to_transform": (list,)}


def _kinds(hint: Any) -> set[type]:
    """The JSON types that may stand for it."""
    if get_origin(hint) is Literal:
        return {str}
    if get_args(hint) and get_origin(hint) not in (list, dict, tuple):
        return {kind for part in get_args(hint) for kind in _kinds(part)}
    base = get_origin(hint) or hint
    if dataclasses.is_dataclass(base):
        return {dict}
    return {float, int} if base is float else {list} if base is tuple else {base}


def test_a_wrong_type_is_an_error_that_names_the_field(run_maker):
    from peft import LoraConfig

    hints = get_type_hints(LoraConfig)
    wrong = [
        (field.name, value)
        for field in dataclasses.fields(LoraConfig)
        for value in VALUES
        if type(value) not in _kinds(hints[field.name]) | set(MORE.get(field.name, ()))
        and not (isinstance(value, str) and any(issubclass(kind, str) for kind in _kinds(hints[field.name])))
    ]
    told = [_told(run_maker, *each) for each in wrong]
    assert [each for each, error in zip(wrong, told, strict=True) if not error.startswith(f"GS101 {each[0]}")] == []
    assert len(wrong) > 150


def _told(run_maker: Any, field: str, value: Any) -> str:
    """The error's rule and the field that its message names; "" where there is none."""
    try:
        read_run(run_maker.adapter(**{field: value}))
    except BadFile as error:
        return (
            f"{error.rule} {error.message.removeprefix('adapter_config.json: ')}" if error.where and error.hint else ""
        )
    return ""


def test_what_peft_writes_by_default_is_taken(run_maker, tmp_path):
    from peft import LoraConfig

    LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert read_run(run_maker.adapter(**{**written, "base_model_name_or_path": "org/tiny"})).modules
    assert NoneType in {type(value) for value in written.values()}
