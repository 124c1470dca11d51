"""Every rule is triggered by real files, once by the mistake itself, and by nothing in a run that is right."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner  # noqa: TID251

from ggship.bases.from_directory import base_from_directory
from ggship.bases.from_gguf import base_from_gguf
from ggship.cli import cli
from ggship.errors import GgshipError, Refused
from ggship.runs import read_run
from ggship.runs.findings import RULES, Finding, findings, refuse_warnings
from ggship.runs.findings.catalogue import OBSTACLES
from ggship.runs.patterns import compiled, matches
from ggship.runs.several import RunRef, read_runs

Q = "base_model.model.model.layers.0.self_attn.q_proj"
PAIR = {f"{Q}.lora_A.weight": ("F32", (8, 16)), f"{Q}.lora_B.weight": ("F32", (16, 8))}
EMBEDDING = "base_model.model.model.embed_tokens"


def write_base(path: Path, *, blocks: int = 2, width: int = 16, rows: int = 32, architecture: str = "llama") -> Path:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(blocks)
    writer.add_embedding_length(width)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_token_list(["<s>", "</s>", *(f"t{number}" for number in range(rows - 2))])
    shapes = {"token_embd.weight": (rows, width), "output.weight": (rows, width)}
    for block in range(blocks):
        shapes |= {f"blk.{block}.attn_q.weight": (width, width), f"blk.{block}.attn_v.weight": (width // 2, width)}
    for name, shape in shapes.items():
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@dataclass
class Given:
    """What a rule is tried on."""

    run: Path
    base: Path | None = None
    deep: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    more: tuple[Path, ...] = ()

    def found(self) -> list[tuple[str, str]]:
        """(code, level) of all findings; of an error that stops the reading, the one."""
        try:
            run = read_run(self.run, **self.options)
            if self.more:
                run = read_runs([RunRef(self.run), *map(RunRef, self.more)])
            base = None
            if self.base is not None:
                base = base_from_gguf(self.base) if self.base.is_file() else base_from_directory(self.base)
            return [(finding.code, finding.level) for finding in findings(run, base, deep=self.deep)]
        except GgshipError as error:
            return [(error.rule, "error")] if error.message and error.where and error.hint else []


def _pickled(make: Any) -> Given:
    path = make.adapter()
    (path / "adapter_model.safetensors").unlink()
    (path / "adapter_model.bin").write_bytes(pickle.dumps({}))
    return Given(path)


def _link(make: Any) -> Given:
    path = make.adapter()
    weights = path / "adapter_model.safetensors"
    weights.rename(make.root.parent / "elsewhere.safetensors")
    weights.symlink_to(make.root.parent / "elsewhere.safetensors")
    return Given(path)


def _two_files(make: Any) -> Given:
    make.adapter(file="adapter_model.bin")
    return Given(make.adapter())


def _cut_short(make: Any) -> Given:
    path = make.adapter()
    weights = path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return Given(path)


def _shard_missing(make: Any) -> Given:
    path = make.adapter(file="adapter_model-00001-of-00002.safetensors")
    make.write(
        "adapter_model.safetensors.index.json", {"weight_map": {"x": "adapter_model-00002-of-00002.safetensors"}}
    )
    return Given(path)


def _settings_damaged(make: Any) -> Given:
    make.write("tokenizer_config.json", '{"chat_template": ')
    return Given(make.adapter())


def _history_damaged(make: Any) -> Given:
    make.write("trainer_state.json", "{")
    return Given(make.adapter())


def _numbers(make: Any, value: float, *, modules: int, **more: Any) -> Given:
    """lora_B of the first `modules` modules gets one number, the others stay zero; every A is one."""
    path = make.adapter(**more)
    file = path / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    data[8 + length :] = bytes(len(data) - 8 - length)
    for name in header:
        start = 8 + length + header[name]["data_offsets"][0]
        number = 1.0 if "lora_A" in name else value if modules > 0 else 0.0
        modules -= "lora_B" in name
        data[start : start + 4] = struct.pack("<f", number)
    file.write_bytes(bytes(data))
    return Given(path)


def _whole(make: Any, module: str, shape: tuple[int, ...], **config: Any) -> Given:
    return Given(make.adapter(tensors={**PAIR, f"base_model.model.{module}": ("F32", shape)}, **config))


def _experts(make: Any) -> Given:
    stem = "base_model.model.model.layers.0.mlp.experts"
    tensors = {f"{stem}.lora_A.weight": ("F32", (16, 8)), f"{stem}.lora_B.weight": ("F32", (16, 16))}
    return Given(make.adapter(tensors={**PAIR, **tensors}, target_parameters=["mlp.experts.down_proj"]))


def _loha(make: Any) -> Given:
    shapes = {"hada_w1_a": (16, 8), "hada_w1_b": (8, 16), "hada_w2_a": (16, 8), "hada_w2_b": (8, 16)}
    tensors = {f"{Q}.{part}": ("F32", shape) for part, shape in shapes.items()}
    return Given(make.adapter(tensors=tensors, peft_type="LOHA", alpha=8))


def _tied(make: Any) -> Given:
    """An embedding trained alone, on an architecture that llama.cpp reads no second head of."""
    import gguf
    import numpy as np

    path = make.root.parent / "gemma.gguf"
    writer = gguf.GGUFWriter(path, "gemma2")
    writer.add_block_count(1)
    writer.add_embedding_length(16)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    for name, shape in (("token_embd.weight", (32, 16)), ("blk.0.attn_q.weight", (16, 16))):
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensors = {f"{EMBEDDING}.lora_embedding_A": ("F32", (8, 32)), f"{EMBEDDING}.lora_embedding_B": ("F32", (16, 8))}
    run = make.adapter(tensors={**PAIR, **tensors}, target_modules=["q_proj", "embed_tokens"])
    return Given(run, path)


def _on(make: Any, **base: Any) -> Given:
    config = base.pop("config", {})
    return Given(
        make.adapter(tensors=base.pop("tensors", None), **config), write_base(make.root.parent / "b.gguf", **base)
    )


def _remote_code(make: Any) -> Given:
    folder = make.root.parent / "base"
    folder.mkdir()
    config = {"model_type": "llama", "num_hidden_layers": 2, "auto_map": {"AutoModel": "modeling_x.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    return Given(make.adapter(), folder)


def _tokens(make: Any, *numbers: int) -> Given:
    decoder = {f"{number}": {"content": f"<law{number}>", "special": True} for number in numbers}
    make.write("tokenizer_config.json", {"added_tokens_decoder": decoder})
    return _on(make)


def _another(make: Any) -> Given:
    given = _on(make, config={"base_model_name_or_path": "mistralai/Mistral-7B-Instruct-v0.2"})
    assert given.base
    return Given(given.run, given.base.rename(given.base.with_name("Mistral-7B-Instruct-v0.1.Q8_0.gguf")))


def _other_numbers(make: Any) -> Given:
    """A copy of the base's embedding, all of it zero."""
    return _on(make, tensors={**PAIR, f"{EMBEDDING}.base_layer.weight": ("F32", (32, 16))})


def _stale(make: Any) -> Given:
    path = make.adapter()
    make.adapter("checkpoint-500")
    make.trained(".", [100, 200])
    return Given(path)


def _best(make: Any, name: str) -> Given:
    path = make.adapter()
    for step in (100, 200):
        make.adapter(f"checkpoint-{step}")
    make.trained(".", [100, 200], best="/gone/checkpoint-100")
    if name:
        return Given(path, options={"checkpoint": name})
    (path / "adapter_model.safetensors").write_bytes(b"\x00" * 0 + _other_weights(path))
    return Given(path)


def _other_weights(path: Path) -> bytes:
    data = bytearray((path / "adapter_model.safetensors").read_bytes())
    data[-4:] = struct.pack("<f", 1.0)
    return bytes(data)


def _not_additive(make: Any) -> Given:
    pair = {**PAIR, f"{Q}.lora_magnitude_vector": ("F32", (16,))}
    dora = make.adapter("dora", tensors=pair, use_dora=True, layers_to_transform=[0])
    plain = make.adapter("plain", tensors=PAIR, layers_to_transform=[0])
    return Given(plain, write_base(make.root / "base.gguf"), more=(dora,))


def _two_templates(make: Any) -> Given:
    for name in ("one", "two"):
        make.adapter(name)
        make.write(f"{name}/chat_template.jinja", f"{name} {{{{ messages }}}}")
    return Given(make.root / "one", more=(make.root / "two",))


def _losses(make: Any, *losses: float | None) -> Given:
    rows = [{"step": 10 * number, "loss": loss} for number, loss in enumerate(losses, 1)]
    text = json.dumps({"global_step": 10 * len(losses), "log_history": rows})
    make.write("trainer_state.json", text)
    return Given(make.adapter())


PLAIN = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"


def _endless(make: Any, template: str = PLAIN, readme: str = "", **tokenizer: Any) -> Given:
    make.write("tokenizer_config.json", json.dumps(tokenizer))
    make.write("chat_template.jinja", template)
    if readme:
        make.write("README.md", readme)
    return Given(make.adapter(), write_base(make.root.parent / "base.gguf"))


MERGE = "merge"
CASES: dict[str, Callable[[Any], Given]] = {
    "GS001": _pickled,
    "GS002": _link,
    "GS003": _two_files,
    "GS004": _cut_short,
    "GS005": _shard_missing,
    "GS006": _settings_damaged,
    "GS007": _history_damaged,
    "GS101": lambda make: Given(make.adapter(lora_alpha="16")),
    "GS102": lambda make: Given(make.adapter(use_magic=True)),
    "GS103": lambda make: Given(make.adapter(r=16)),
    "GS104": lambda make: Given(make.adapter(lora_alpha=0)),
    "GS201": lambda make: Given(make.adapter(tensors={f"{Q}.lora_A.weight": ("F32", (8, 16))})),
    "GS202": lambda make: Given(make.adapter(tensors={**PAIR, f"{Q}.lora_B.weight": ("F32", (16, 4))})),
    "GS203": lambda make: Given(
        make.adapter(tensors={f"{Q}.lora_{half}.{name}.weight": ("F32", (8, 8)) for half in "AB" for name in "ab"})
    ),
    "GS204": lambda make: Given(make.adapter(tensors={**PAIR, f"{Q}.lora_B.weight": ("F32", (0,))})),
    "GS205": lambda make: Given(make.adapter(tensors={})),
    "GS206": lambda make: _numbers(make, 0.0, modules=0),
    "GS207": lambda make: _numbers(make, float("nan"), modules=1),
    "GS208": lambda make: _numbers(make, 1.0, modules=1),
    "GS301": lambda make: _whole(
        make, "model.layers.0.self_attn.q_proj.lora_magnitude_vector", (16,), use_dora=True
    ),
    "GS302": lambda make: _whole(make, "lm_head.weight", (32, 16), modules_to_save=["lm_head"]),
    "GS303": lambda make: _whole(
        make, "model.embed_tokens.token_adapter.trainable_tokens_delta", (2, 16), trainable_token_indices=[1, 2]
    ),
    "GS304": lambda make: _whole(make, "model.layers.0.self_attn.q_proj.lora_B.bias", (16,), lora_bias=True),
    "GS305": _experts,
    "GS306": lambda make: Given(make.adapter(fan_in_fan_out=True)),
    "GS307": _loha,
    "GS308": lambda make: Given(make.adapter(peft_type="PREFIX_TUNING")),
    "GS309": lambda make: Given(make.adapter(task_type="SEQ_CLS")),
    "GS310": lambda make: Given(make.adapter(init_lora_weights="pissa")),
    "GS311": lambda make: Given(make.adapter(layer_replication=[[0, 2], [0, 2]])),
    "GS312": lambda make: Given(make.adapter(kasa_config={"alpha": 1})),
    "GS313": lambda make: _whole(make, "model.layers.0.mystery", (3, 3)),
    "GS314": lambda make: Given(make.adapter(alora_invocation_tokens=[1, 2])),
    "GS315": _tied,
    "GS316": _not_additive,
    "GS401": lambda make: _on(make, width=32),
    "GS402": lambda make: _on(make, blocks=1),
    "GS403": lambda make: _on(
        make,
        tensors={
            f"base_model.model.transformer.encoder.layers.0.self_attention.query_key_value.lora_{half}.weight": (
                "F32", shape
            )
            for half, shape in (("A", (8, 16)), ("B", (16, 8)))
        },
    ),
    "GS404": lambda make: _on(make, blocks=4, config={"target_modules": ["q_proj", "v_proj"]}),
    "GS405": lambda make: Given(make.adapter(base_model_name_or_path="unsloth/Qwen3-4B-unsloth-bnb-4bit")),
    "GS406": lambda make: Given(make.adapter(base_model_name_or_path=...)),
    "GS407": _remote_code,
    "GS408": lambda make: _tokens(make, 32, 33),
    "GS409": lambda make: _tokens(make, 31),
    "GS410": _another,
    "GS411": _other_numbers,
    "GS412": lambda make: Given(
        make.adapter("one", base_model_name_or_path="org/Tiny-1B"),
        more=(make.adapter("two", base_model_name_or_path="org/Tiny-1B-Instruct"),),
    ),
    "GS413": _two_templates,
    "GS501": _stale,
    "GS502": lambda make: _best(make, ""),
    "GS503": lambda make: _best(make, "best"),
    "GS504": lambda make: _losses(make, 2.0, 2.1, 2.0, 2.1),
    "GS505": lambda make: _losses(make, 2.0, float("nan"), 1.0),
    "GS506": lambda make: _endless(make),
}  # fmt: skip


def test_every_rule_has_a_case():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("code", CASES)
def test_the_rule_finds_it(code, run_maker):
    assert code in [found for found, _ in CASES[code](run_maker).found()]


@pytest.mark.parametrize("code", CASES)
def test_findings_say_all_and_name_no_place_of_this_machine(code, run_maker):
    given = CASES[code](run_maker)
    try:
        run = read_run(given.run, **given.options)
    except GgshipError:
        return
    base = base_from_gguf(given.base) if given.base and given.base.is_file() else None
    for finding in findings(run, base, deep=given.deep):
        assert all(finding.document().values()), finding
        assert str(run_maker.root.parent) not in json.dumps(finding.document())
        assert finding.title == RULES[finding.code].title


def test_a_run_that_is_right_has_no_findings(run_maker):
    given = _on(run_maker)
    run_maker.adapter("checkpoint-100")
    run_maker.trained(".", [25, 50, 75, 100], best="/gone/checkpoint-100")
    run_maker.write("tokenizer_config.json", {"added_tokens_decoder": {"0": {"content": "<s>"}}})
    assert given.found() == []


def test_what_is_merged_is_a_note_and_what_nothing_carries_an_error(run_maker):
    assert CASES["GS301"](run_maker).found() == [("GS301", "note")]
    assert Given(run_maker.adapter(use_dora=True)).found() == [("GS301", "error")]


def test_every_obstacle_and_every_missing_route_has_a_rule():
    import re

    root = Path(__file__).parents[2] / "src" / "ggship"
    text = (root / "runs" / "obstacles.py").read_text() + (root / "convert" / "routes.py").read_text()
    codes = set(re.findall(r'(?:Obstacle|_lost)\(\s*"([a-z-]+)"', text)) | set(
        re.findall(r'\(\s*\[?\("([a-z-]+)", ', text)
    )
    assert len(codes) > 12
    assert codes <= set(OBSTACLES)
    assert set(OBSTACLES.values()) <= set(RULES)


def test_the_adapter_at_the_top_may_be_the_best_checkpoint(run_maker):
    given = _best(run_maker, "best")
    assert ("GS503", "note") in Given(given.run).found()


@pytest.mark.parametrize("name", ["adapter_model-old.safetensors", "adapter_model (1).bin", "adapters.safetensors"])
def test_a_second_file_of_weights_is_told_whatever_it_is_called(name, run_maker):
    path = run_maker.adapter()
    (path / name).write_bytes(b"x")
    (found,) = findings(read_run(path))
    assert (found.code, found.evidence) == (
        "GS003",
        f"adapter_model.safetensors and {name}; adapter_model.safetensors is used",
    )


def test_the_parts_of_one_adapter_are_no_second_file(run_maker):
    names = [f"adapter_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    pairs = list(PAIR.items())
    for name, pair in zip(names, pairs, strict=True):
        run_maker.adapter(tensors=dict([pair]), file=name)
    run_maker.write(
        "adapter_model.safetensors.index.json",
        {"weight_map": {tensor: name for name, (tensor, _) in zip(names, pairs, strict=True)}},
    )
    assert findings(read_run(run_maker.root)) == ()


def test_a_link_that_was_only_looked_at_is_a_warning(run_maker):
    path = run_maker.adapter()
    (path / "README.md").symlink_to("/etc/hostname")
    assert Given(path).found() == [("GS002", "warning")]


def test_checkpoints_of_other_settings_are_stale(run_maker):
    path = run_maker.adapter()
    run_maker.adapter("checkpoint-100", lora_alpha=32)
    (finding,) = findings(read_run(path))
    assert (finding.code, finding.evidence) == ("GS501", "checkpoint-100 has lora_alpha 32, the adapter used 16")


def test_unknown_fields_that_are_off_are_nothing_and_are_kept(run_maker):
    run = read_run(run_maker.adapter(use_magic=False, magic=None, spells=[]))
    assert findings(run) == ()
    assert run.config["use_magic"] is False


def test_mlx_settings_are_not_unknown_fields(run_maker):
    stem = "model.layers.0.self_attn.q_proj"
    tensors = {f"{stem}.lora_a": ("F32", (16, 8)), f"{stem}.lora_b": ("F32", (8, 16))}
    path = run_maker.adapter(tensors=tensors, file="adapters.safetensors", peft_type=..., r=..., lora_alpha=...,
                             lora_parameters={"rank": 8, "scale": 2.0}, iters=600)  # fmt: skip
    assert [finding.code for finding in findings(read_run(path))] == []


ONE = {"pad_token": "<|im_end|>", "eos_token": {"content": "<|im_end|>"}}


@pytest.mark.parametrize(
    ("template", "readme", "tokenizer", "level"),
    [
        (PLAIN, "", {}, "warning"),
        (PLAIN, "", {"add_eos_token": True}, None),
        (CHATML, "", {"eos_token": "<|im_end|>", "pad_token": "<pad>"}, None),
        (CHATML, "", ONE, "note"),
        (CHATML, "### Framework versions\n\n- TRL: 0.12.2\n", ONE, "warning"),
        (CHATML, "### Framework versions\n\n- TRL: 0.16.1\n", ONE, None),
        (CHATML, "", {"eos_token": "</s>", "pad_token": "</s>"}, None),  # turns end with another mark
        (PLAIN, "---\ntags:\n- llama-factory\n---\n", {}, None),
        ("{{ raise_exception('no') }}", "", ONE, "note"),
    ],
)
def test_whether_training_can_have_seen_an_end(run_maker, template, readme, tokenizer, level):
    found = dict(_endless(run_maker, template, readme, **tokenizer).found())
    assert found.get("GS506") == level


@pytest.mark.parametrize(("tokenizer", "level"), [("phi4", "warning"), ("llama3", None), ("qwen2", None)])
def test_torchtunes_tokenizer_for_phi4_writes_no_end(run_maker, tokenizer, level):
    config = {"tokenizer": {"_component_": f"torchtune.models.{tokenizer}.{tokenizer}_tokenizer"}}
    run_maker.write("torchtune_config.yaml", config)
    found = dict(_endless(run_maker, PLAIN, "", **ONE).found())
    assert found.get("GS506") == level


def test_losses_of_reinforcement_learning_need_not_fall(run_maker):
    run_maker.trained(".", [1, 2])
    rows = [{"step": step, "loss": 0.1 * step, "rewards/mean": 1.0} for step in range(1, 9)]
    run_maker.write("trainer_state.json", {"global_step": 8, "log_history": rows})
    assert findings(read_run(run_maker.adapter())) == ()


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|a)*b", "(.*a){9}", "a?" * 40, ".*" * 9, "(a|b|c)" * 20])
def test_a_pattern_that_might_never_end_is_refused(pattern, run_maker):
    with pytest.raises(GgshipError, match="rank_pattern") as caught:
        read_run(run_maker.adapter(rank_pattern={pattern: 8}))
    assert caught.value.rule == "GS101"


@pytest.mark.parametrize(
    "pattern",
    [
        "q_proj",
        r".*\.layers\.\d+\.mlp\..*",
        r"^model\.layers\.(0|1|2|3)\.self_attn\.[qk]_proj",
        r"layers.(?:1|2).q_proj?",
    ],
)
def test_patterns_that_people_write_are_taken(pattern):
    compiled(pattern)


@pytest.mark.parametrize("pattern", ["q_proj", "self_attn.q_proj", "attn.q", "x.attn_q", "layers.1", "a.b", ""])
@pytest.mark.parametrize(
    "module", ["q_proj", "l.0.self_attn.q_proj", "x.attn_q", "xq_proj", "layers.11", "a.b", "aab", ""]
)
def test_names_written_out_match_as_expressions_do(pattern, module):
    assert matches(pattern, module) == bool(compiled(pattern).match(module))


class TestStrict:
    def test_notes_stop_nothing(self):
        refuse_warnings([RULES["GS301"].found("DoRA")])

    def test_warnings_do_and_every_code_is_named(self):
        found = [RULES["GS504"].found("2 and 2"), RULES["GS102"].found("magic")]
        with pytest.raises(Refused) as caught:
            refuse_warnings(found)
        assert caught.value.rule == "GS504, GS102"
        assert "GS504" in caught.value.where
        assert "GS102" in caught.value.hint

    def test_inspect_shows_all_and_then_refuses(self, run_maker):
        path = run_maker.adapter(use_magic=True)
        result = CliRunner().invoke(cli, ["inspect", "--strict", str(path)])
        assert "GS102" in result.output
        assert isinstance(result.exception, Refused)
        assert result.exception.exit_code == 4
        assert CliRunner().invoke(cli, ["inspect", str(path)]).exit_code == 0


def test_json_has_all_fields_of_every_finding(run_maker):
    result = CliRunner().invoke(cli, ["inspect", "--json", str(run_maker.adapter(use_magic=True))])
    (found,) = json.loads(result.stdout)["findings"]
    assert Finding(**found) == RULES["GS102"].found("use_magic is True")


def test_deep_and_base_are_asked_for_on_the_command_line(run_maker):
    base = write_base(run_maker.root.parent / "b.gguf", width=32)
    wide = {name: (dtype, (8, 1 << 20) if "lora_A" in name else shape) for name, (dtype, shape) in PAIR.items()}
    path = _numbers(run_maker, 0.0, modules=0, tensors=wide).run
    told = []
    for flags in ([], ["--deep", "--base", str(base)]):
        result = CliRunner().invoke(cli, ["inspect", "--json", *flags, str(path)])
        told.append([finding["code"] for finding in json.loads(result.stdout)["findings"]])
    assert told == [[], ["GS206", "GS401"]], "more than 32 MB are read only where that is asked for"


def test_an_error_that_stops_the_reading_names_its_rule(run_maker, capfd):
    from ggship.cli.funnel import run as run_command

    assert run_command(cli, ["inspect", str(CASES["GS201"](run_maker).run)]) == 1
    assert "[GS201]" in capfd.readouterr().err
