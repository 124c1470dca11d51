"""Which type llama.cpp gives each tensor of a quantized model.

The rules of `llama-quantize` without an importance matrix, for the file types that ggship offers; read from
llama.cpp's src/llama-quant.cpp (tensor_allows_quantization, llama_tensor_get_type_impl, tensor_type_fallback) and held
against the real program tensor by tensor in tests/gguf/test_mix.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ggship.errors import UsageError
from ggship.gguf.reader import GgufFile, TensorInfo
from ggship.gguf.types import GgmlType

# name on the command line -> (number of the file type in general.file_type, type of most tensors)
FILE_TYPES: dict[str, tuple[int, GgmlType]] = {
    "F32": (0, GgmlType.F32),
    "F16": (1, GgmlType.F16),
    "BF16": (32, GgmlType.BF16),
    "Q8_0": (7, GgmlType.Q8_0),
    "Q6_K": (18, GgmlType.Q6_K),
    "Q5_K_M": (17, GgmlType.Q5_K),
    "Q5_K_S": (16, GgmlType.Q5_K),
    "Q4_K_M": (15, GgmlType.Q4_K),
    "Q4_K_S": (14, GgmlType.Q4_K),
    "Q5_1": (9, GgmlType.Q5_1),
    "Q5_0": (8, GgmlType.Q5_0),
    "Q4_1": (3, GgmlType.Q4_1),
    "Q4_0": (2, GgmlType.Q4_0),
}

# Parts of names whose tensors stay as they are.
_KEPT = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj|ssm_conv1d"
    r"|shortconv\.conv\.weight|indexer\.[kq]_proj\.weight"
    r"|time_mix_(first|w0|w1|w2|v0|v1|v2|a0|a1|a2|g1|g2|decay_w1|decay_w2|lerp_fused)\.weight|attn_rel_b\.weight"
    r"|\.position_embd|sam\.pos_embd|sam\.neck\.|sam\.net_|\.rel_pos|\.patch_embd|\.patch_merger"
    r"|a\.rvq\.codebook|mm\.a\.code_embd"
)
_KEPT_NAMES = ("position_embd.weight", "token_types.weight")
_KEPT_GLM5 = re.compile(
    r"hc_|indexer\.attn_q_b|indexer\.attn_k|indexer\.proj|indexer_compressor_(gate|ape)|ssm_[fg]_[ab]\.weight"
    r"|ssm_beta\.weight|attn_kv_a_mqa\.weight|attn_[kv]_b\.weight"
)
_FINE_GLM5 = re.compile(r"attn_q_a|attn_q_b|nextn\.eh_proj")
_LAYER = re.compile(r"blk\.(\d+)\.")
# architectures whose 80 layers (jais2: 68) make llama.cpp call them "70B"; llama itself also needs grouped heads
_SEVENTY_B = {"qwen2": 80, "llama": 80, "deci": 80, "olmo": 80, "jais2": 68}
# type -> what stands in for it in rows that its blocks do not divide
_FALLBACK = {GgmlType.Q4_K: GgmlType.Q5_0, GgmlType.Q5_K: GgmlType.Q5_1, GgmlType.Q6_K: GgmlType.Q8_0}


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the rules ask of a model: its architecture, layers, experts, and whether llama.cpp calls it 70B."""

    name: str
    layers: int
    experts: int
    seventy_b: bool

    @classmethod
    def of(cls, file: GgufFile) -> Architecture:
        """Read it from a header."""
        name = file.architecture

        def number(key: str) -> int:
            value = file.get(f"{name}.{key}", 0)
            if isinstance(value, list):  # one number a layer
                value = value[0] if value else 0
            return value if isinstance(value, int) else 0

        layers = number("block_count")
        heads = number("attention.head_count")
        grouped = heads != (number("attention.head_count_kv") or heads)
        seventy_b = layers == _SEVENTY_B.get(name) and (name != "llama" or grouped)
        return cls(name, layers, number("expert_count"), seventy_b)


def choose_types(file: GgufFile, quant: str) -> dict[str, GgmlType]:
    """The type that `llama-quantize FILE OUT QUANT` gives each tensor. UsageError for a quant not in FILE_TYPES."""
    return _Mix(Architecture.of(file), quant).choose(file.tensors)


def parse_quant(quant: str) -> str:
    """The name of a file type as FILE_TYPES has it; UsageError where there is no such."""
    name = quant.upper().replace("-", "_")
    name = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}.get(name, name)
    if name not in FILE_TYPES:
        raise UsageError(f"ggship cannot quantize to {quant!r}", hint=f"choose one of {', '.join(FILE_TYPES)}")
    return name


def may_quantize(tensor: TensorInfo, architecture: str) -> bool:
    """Whether llama.cpp changes the type of this tensor at all: norms, routers, 1-D and other small ones stay."""
    name = tensor.name
    if not name.endswith("weight") or all(size == 1 for size in tensor.shape[:-1]):
        return False
    if name in _KEPT_NAMES or _KEPT.search(name):
        return False
    return not (architecture == "glm5-next" and _KEPT_GLM5.search(name))


def fitting(kind: GgmlType, columns: int) -> GgmlType:
    """The type itself, or what llama.cpp takes instead for rows that its blocks do not divide."""
    if columns % kind.block == 0:
        return kind
    kind = _FALLBACK.get(kind, kind)
    return kind if columns % kind.block == 0 else GgmlType.F16


class _Mix:
    """One pass over the tensors of a model, with the counters that the rules use."""

    def __init__(self, architecture: Architecture, quant: str) -> None:
        self.arch = architecture
        self.quant = parse_quant(quant)
        self.default = FILE_TYPES[self.quant][1]
        self.values_seen = 0  # attention values (or fused query-key-value) so far
        self.downs_seen = 0
        self.values_total = 0
        self.tied = True

    def choose(self, tensors: Iterable[TensorInfo]) -> dict[str, GgmlType]:
        ordered = sorted(tensors, key=lambda tensor: _order(tensor.name))
        self.values_total = sum(_category(tensor.name) in _VALUES for tensor in ordered)
        self.tied = all(tensor.name != "output.weight" for tensor in ordered)
        return {tensor.name: self.one(tensor) for tensor in ordered}

    def one(self, tensor: TensorInfo) -> GgmlType:
        if not may_quantize(tensor, self.arch.name):
            return tensor.type
        if not self.default.quantized:
            return self.default
        return fitting(self.preferred(tensor), tensor.columns)

    def preferred(self, tensor: TensorInfo) -> GgmlType:
        """The type by the mix alone, whatever the width of the rows."""
        name, kind = tensor.name, self.default
        category = _category(name)
        if self.arch.name == "glm5-next" and _FINE_GLM5.search(name):
            return GgmlType.Q8_0
        if category == "output" or (self.tied and category == "token_embd"):
            if self.arch.name == "falcon" or tensor.columns % kind.block:
                return GgmlType.Q8_0
            return kind if kind is GgmlType.Q8_0 else GgmlType.Q6_K
        if category == "token_embd":
            return kind
        if category in _VALUES:
            return self.value()
        if category == "attn_k" and self.arch.experts == 8:
            return GgmlType.Q8_0
        if category == "ffn_down":
            return self.down(name)
        if category == "attn_output" and self.arch.name != "falcon" and self.arch.experts == 8:
            return GgmlType.Q5_K if kind is GgmlType.Q4_K else kind
        return kind

    def value(self) -> GgmlType:
        kind, seen = self.default, self.values_seen
        self.values_seen += 1
        if self.quant in ("Q4_K_M", "Q5_K_M") and _more_bits(seen, self.values_total):
            kind = GgmlType.Q6_K
        elif self.quant == "Q4_K_S" and seen < 4:
            kind = GgmlType.Q5_K
        if self.arch.seventy_b and kind is GgmlType.Q4_K:
            kind = GgmlType.Q5_K
        return GgmlType.Q8_0 if self.arch.experts == 8 else kind

    def down(self, name: str) -> GgmlType:
        layers = self.arch.layers
        layer = self.downs_seen
        self.downs_seen += 1
        if self.arch.experts > 1:  # experts are not in order, so the name tells the layer
            found = _LAYER.match(name)
            layer = int(found.group(1)) if found else layer
        falcon, more = self.arch.name == "falcon", _more_bits(layer, layers)
        if self.quant == "Q4_K_M" and falcon:
            return GgmlType.Q6_K if layer < layers // 16 else (GgmlType.Q5_K if more else GgmlType.Q4_K)
        if self.quant in ("Q4_K_M", "Q5_K_M") and more:
            return GgmlType.Q6_K
        if self.quant == "Q4_K_S" and not falcon and layer < layers // 8:
            return GgmlType.Q5_K
        return self.default


_VALUES = ("attn_v", "attn_qkv", "attn_kv_b")
# in the order that llama.cpp looks for them: the first that is in the name counts
_CATEGORIES: Mapping[str, str] = {
    "attn_qkv.weight": "attn_qkv",
    "attn_kv_b.weight": "attn_kv_b",
    "attn_v.weight": "attn_v",
    "attn_k.weight": "attn_k",
    "attn_q.weight": "attn_q",
    "attn_output.weight": "attn_output",
    "ffn_up": "ffn_up",
    "ffn_gate": "ffn_gate",
    "ffn_down": "ffn_down",
}


def _category(name: str) -> str:
    if name == "output.weight":
        return "output"
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return "token_embd"
    return next((category for part, category in _CATEGORIES.items() if part in name), "other")


def _order(name: str) -> tuple[int, str]:
    """llama.cpp walks the tensors by layer, then by name; those outside any layer come first."""
    found = _LAYER.match(name)
    return (int(found.group(1)) if found else -1, name)


def _more_bits(layer: int, layers: int) -> bool:
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
