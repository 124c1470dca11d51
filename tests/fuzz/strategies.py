"""Files that are nearly right: what a crash, a bad disk, another program or a stranger could leave."""

from __future__ import annotations

import json
import struct
from typing import Any

from hypothesis import strategies as st

from ggship.runs.config import _FIELDS
from ggship.runs.findings.known import KNOWN_FIELDS

Q = "base_model.model.model.layers.0.self_attn.q_proj"
V = "base_model.model.model.layers.1.self_attn.v_proj"
GOOD_CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "org/tiny-1b",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "v_proj"],
    "bias": "none",
}
METHODS = (
    "LORA",
    "ADALORA",
    "LOHA",
    "LOKR",
    "IA3",
    "VERA",
    "OFT",
    "LN_TUNING",
    "TRAINABLE_TOKENS",
    "PREFIX_TUNING",
    "?",
)
_PARTS = (
    "lora_A.weight lora_B.weight lora_E lora_embedding_A lora_embedding_B lora_magnitude_vector lora_B.bias hada_w1_a "
    "hada_w1_b hada_w2_a hada_w2_b lokr_w1 lokr_w1_a lokr_w1_b lokr_w2 lokr_w2_a lokr_w2_b ia3_l vera_lambda_b "
    "vera_lambda_d oft_R.weight token_adapter.trainable_tokens_delta weight bias base_layer.weight lora_A.x.weight m "
    "lora_a lora_b modules_to_save.default.weight"
)
PARTS = _PARTS.split()
MODULES = (
    "model.layers.0.self_attn.q_proj",
    "model.layers.1.mlp.experts",
    "model.layers.1.mlp.experts.3.up_proj",
    "model.embed_tokens",
    "lm_head",
    "transformer.encoder.layers.0.self_attention.query_key_value",
    "x",
)
DTYPES = ("F32", "F16", "BF16", "F64", "I8", "U8", "F8_E4M3", "BOOL", "F4", "NONE")

odd_numbers = st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(2**63), 1e308, -1e308, float("nan"), 1e-320])
words = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            "\0",
            "\ud800",
            "..",
            "/",
            "../../etc/passwd",
            "(a+)+$",
            "(" * 50,
            ".*" * 20,
            "[",
            "\\",
            "a" * 5000,
            "q_proj",
        ]
    ),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), odd_numbers, st.floats(), words)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)),
    max_leaves=8,
)
deep = st.integers(1, 3000).map(lambda depth: "[" * depth + "]" * depth)
fields = st.sampled_from(sorted({*_FIELDS, *KNOWN_FIELDS, "use_magic", "lora_parameters", "fine_tune_type"}))


@st.composite
def configs(draw: st.DrawFn) -> bytes:
    """adapter_config.json with some fields of any type, missing, or unknown; now and then no JSON at all."""
    config = dict(GOOD_CONFIG, peft_type=draw(st.sampled_from(METHODS))) if draw(st.booleans()) else dict(GOOD_CONFIG)
    for field in draw(st.lists(fields, max_size=4)):
        config[field] = draw(values)
    for field in draw(st.lists(st.sampled_from(sorted(GOOD_CONFIG)), max_size=1)):
        config.pop(field, None)
    text = json.dumps(config)
    if draw(st.integers(0, 9)) == 0:
        text = text.replace('"none"', draw(deep), 1)
    data = text.encode("utf-8", "surrogatepass")
    return draw(broken(data)) if draw(st.integers(0, 4)) == 0 else data


@st.composite
def broken(draw: st.DrawFn, data: bytes) -> bytes:
    """The data with bytes changed, cut off, put in or taken out."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        what = draw(st.integers(0, 3))
        if what == 0 and changed:
            changed[at] = draw(st.integers(0, 255))
        elif what == 1:
            changed[at:at] = draw(st.binary(max_size=16))
        elif what == 2:
            del changed[at : at + draw(st.integers(1, 64))]
        else:
            changed[at : at + 8] = struct.pack("<Q", draw(st.sampled_from([0, 1, 2**31, 2**63, 2**64 - 1, len(data)])))
    if draw(st.integers(0, 5)) == 0:
        del changed[draw(st.integers(0, len(changed))) :]
    return bytes(changed)


def safetensors(entries: dict[str, Any], size: int) -> bytes:
    """A file of that header, with zeros for data."""
    text = json.dumps(entries).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + bytes(size)


_BITS = {"F32": 32, "F16": 16, "BF16": 16, "F64": 64, "I8": 8, "U8": 8, "F8_E4M3": 8, "BOOL": 8, "F4": 4}
shapes = st.one_of(st.sampled_from([(4, 16), (16, 4), (8, 4), (16,), (4, 4), (1, 16), (2, 3, 4), (), (0,), (1,)]))


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    """A safetensors file: whole, of any tensors of any method; or with a wrong header; or with bytes changed."""
    names = draw(
        st.lists(
            st.one_of(st.builds("{}.{}".format, st.sampled_from(MODULES), st.sampled_from(PARTS)), words),
            max_size=6,
            unique=True,
        )
    )
    prefix = draw(st.sampled_from(["base_model.model.", "base_model.model.", ""]))
    entries: dict[str, Any] = {}
    at = 0
    for name in names:
        dtype, shape = draw(st.sampled_from(DTYPES)) if draw(st.integers(0, 5)) == 0 else "F32", draw(shapes)
        bits = _BITS.get(dtype, 8)
        for extent in shape:
            bits *= extent
        entries[prefix + name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + bits // 8]}
        at += bits // 8
    if entries and draw(st.integers(0, 3)) == 0:
        entry = entries[draw(st.sampled_from(sorted(entries)))]
        entry[draw(st.sampled_from(["dtype", "shape", "data_offsets", "more"]))] = draw(values)
    if draw(st.integers(0, 5)) == 0:
        entries["__metadata__"] = draw(values)
    data = safetensors(entries, at)
    return draw(broken(data)) if draw(st.integers(0, 3)) == 0 else data


GOOD_TENSORS = safetensors(
    {
        f"{module}.lora_{half}.weight": {"dtype": "F32", "shape": shape, "data_offsets": [start, start + size]}
        for module, start, out in ((Q, 0, 16), (V, 512, 8))
        for half, shape, start, size in (("A", [4, 16], start, 256), ("B", [out, 4], start + 256, 16 * out))
    },
    512 + 256 + 128,
)


def _text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


_KEYS = (
    b"general.architecture general.alignment general.type general.name split.count llama.block_count "
    b"llama.embedding_length llama.attention.head_count llama.attention.head_count_kv llama.attention.key_length "
    b"llama.vocab_size llama.feed_forward_length tokenizer.ggml.tokens tokenizer.chat_template ggship.x nextn"
).split()
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_LIMITS = st.sampled_from([0, 1, 2, 16, 32, 255, 2**31 - 1, 2**32 - 1, 2**40, 2**63, 2**64 - 1])


@st.composite
def gguf_values(draw: st.DrawFn) -> bytes:
    """A metadata value with its type: mostly right, sometimes with a count or a type that is not."""
    kind = draw(st.sampled_from([*_SCALARS, 8, 8, 9, 9, 13, 2**32 - 1]))
    head = struct.pack("<I", kind)
    if kind in _SCALARS:
        size = struct.calcsize(_SCALARS[kind])
        return head + draw(
            st.one_of(st.binary(min_size=size, max_size=size), _LIMITS.map(lambda n: n.to_bytes(8, "little")[:size]))
        )
    if kind == 8:
        return head + _text(
            draw(st.one_of(st.binary(max_size=12), st.sampled_from([b"llama", b"gemma2", b"qwen3", b"model"])))
        )
    if kind != 9:
        return head
    item = draw(st.sampled_from([*_SCALARS, 8, 9, 14]))
    count = draw(st.one_of(st.integers(0, 4), _LIMITS))
    body = b"".join(_text(b"t") if item == 8 else bytes(8) for _ in range(min(count, 4)))
    return head + struct.pack("<IQ", item, count) + body


@st.composite
def ggufs(draw: st.DrawFn) -> bytes:
    """A GGUF file: a llama of two blocks, with metadata and tensors of any kind added, or with bytes changed."""
    pairs = [
        (
            b"general.architecture",
            struct.pack("<I", 8) + _text(draw(st.sampled_from([b"llama", b"gemma2", b"chatglm", b"\xff"]))),
        )
    ]
    sizes = {b"block_count": 2, b"embedding_length": 16, b"attention.head_count": 2, b"attention.head_count_kv": 1}
    for key in draw(st.lists(st.sampled_from(sorted(sizes)), unique=True)):
        size = draw(st.one_of(st.just(sizes[key]), st.just(sizes[key]), _LIMITS))
        pairs.append((b"llama." + key, struct.pack("<IQ", 10, size)))
    pairs += draw(
        st.lists(st.tuples(st.one_of(st.sampled_from(_KEYS), st.binary(max_size=8)), gguf_values()), max_size=6)
    )
    named = st.sampled_from(
        [
            b"token_embd.weight",
            b"blk.0.attn_q.weight",
            b"blk.1.attn_v.weight",
            b"output.weight",
            b"blk.99999999.attn_q.weight",
        ]
    )
    infos = []
    at = 0
    for name in draw(st.lists(st.one_of(named, st.binary(max_size=8)), max_size=4, unique=True)):
        dims = draw(
            st.one_of(st.sampled_from([(16, 16), (16, 8), (32,), ()]), st.lists(_LIMITS, max_size=5).map(tuple))
        )
        kind = draw(st.sampled_from([0, 0, 0, 1, 2, 8, 12, 30, 255]))
        infos.append(
            _text(name)
            + struct.pack("<I", len(dims))
            + b"".join(struct.pack("<Q", d) for d in dims)
            + struct.pack("<IQ", kind, at)
        )
        at += draw(st.sampled_from([1024, 512, 0, 7]))
    counts = struct.pack(
        "<QQ", *(draw(_LIMITS) if draw(st.integers(0, 9)) == 0 else n for n in (len(infos), len(pairs)))
    )
    data = b"GGUF" + struct.pack("<I", 3) + counts + b"".join(_text(k) + v for k, v in pairs) + b"".join(infos)
    data += bytes(-len(data) % 32) + bytes(at)
    return draw(broken(data)) if draw(st.integers(0, 2)) == 0 else data


@st.composite
def asides(draw: st.DrawFn) -> dict[str, bytes]:
    """Files beside the adapter: state, logs, tokenizer, model card."""
    made: dict[str, bytes] = {}
    names = ("trainer_state.json", "trainer_log.jsonl", "tokenizer_config.json", "added_tokens.json", "tokenizer.json",
             "config.json", "args.json", "chat_template.jinja", "README.md", "training_args.yaml",
             "adapter_model.safetensors.index.json")  # fmt: skip
    keys = st.sampled_from(
        ["log_history", "best_model_checkpoint", "best_global_step", "global_step", "chat_template", "auto_map",
         "model_type",
         "added_tokens_decoder", "added_tokens", "swift_version", "unsloth_version", "weight_map", "step", "loss"]
    )  # fmt: skip
    rows = st.lists(st.fixed_dictionaries({"step": scalars, "loss": scalars, "eval_loss": scalars}), max_size=4)
    for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True)):
        content = draw(st.dictionaries(keys, st.one_of(values, rows), max_size=4))
        data = json.dumps(content).encode("utf-8", "surrogatepass")
        made[name] = draw(broken(data)) if draw(st.booleans()) else data
    return made
