"""Read a run: the one door to everything that training left."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from ggship.errors import BadFile, NotARun
from ggship.runs.config import read_config
from ggship.runs.files import MIB, is_regular, read_object, refuse_leaving
from ggship.runs.headers import read_headers
from ggship.runs.history import list_checkpoints
from ggship.runs.mlx import in_pefts_words, is_mlx
from ggship.runs.model import Run, TensorHeader
from ggship.runs.modules import module_names, sort_tensors
from ggship.runs.pickled import pickle_in, refuse_pickle, unpickled
from ggship.runs.places import choose_place
from ggship.runs.template import read_tokenizer
from ggship.runs.trainers import Evidence, recognise

WEIGHTS = "adapter_model.safetensors"
_MLX_WEIGHTS = "adapters.safetensors"
_INDEX = f"{WEIGHTS}.index.json"
_WHOLE = "copy the whole run again from where training ran"


def read_run(path: Path, *, checkpoint: str | None = None, allow_pickle: bool = False) -> Run:
    """Read a run from its small files and the headers of its tensors; no tensor data.

    path: a run directory, one of its checkpoints, or a directory that holds only checkpoints. checkpoint names one
    (checkpoint-500, 500, best, last) where the run has several. `Run.chosen` says which adapter is used and why.
    allow_pickle: read pickled weights as tensors alone, in another process (needs ggship[hf]), into the cache.

    Raises NotARun where there is no adapter, BadFile where a file is damaged or a field has a wrong type, Refused for
    pickled weights and for links out of the run, UsageError where there is no such checkpoint; errors that a rule of
    docs/rules.md explains have its code in `rule`.
    """
    place = choose_place(path.expanduser(), checkpoint)
    written = read_config(place.path, place.root)
    pickled = "" if _has_weights(place.path) else pickle_in(place.path)
    if pickled and not allow_pickle:
        refuse_pickle(place.path, pickled)
    if pickled:
        tensors = dict(read_headers(unpickled(place.path, pickled, place.root)).tensors)
    else:
        tensors = _read_tensors(place.path, place.root)
    config, tensors = in_pefts_words(written, tensors) if is_mlx(written) else (written, tensors)
    sorted_tensors = sort_tensors(config, tensors)
    directories = (place.path,) if place.path == place.root else (place.path, place.root)
    tokenizer = read_tokenizer(directories, place.root)
    trainer, training = recognise(
        Evidence(
            directories,
            place.root,
            written,
            module_names(tensors),
            place.history,
            tokenizer_saved=bool(tokenizer.files),
            template=tokenizer.template,
            template_source=tokenizer.source,
        )
    )
    return Run(
        root=place.root,
        path=place.path,
        chosen=place.chosen,
        config=config,
        tensors=tensors,
        modules=sorted_tensors.modules,
        unexpressed=sorted_tensors.unexpressed,
        checkpoints=list_checkpoints(place.checkpoints, place.history),
        trainer=trainer,
        tokenizer_files=tokenizer.files,
        chat_template=tokenizer.template,
        chat_template_source=tokenizer.source,
        base_named=str(config.get("base_model_name_or_path") or config.get("model") or ""),
        base_revision=str(config.get("revision") or ""),
        tokenizer_dir=tokenizer.directory,
        trained=sorted_tensors.trained,
        training=training,
        history=place.history,
        pickled=pickled,
    )


def _has_weights(directory: Path) -> bool:
    return any(is_regular(directory / name) for name in (WEIGHTS, _MLX_WEIGHTS, _INDEX))


def _read_tensors(directory: Path, root: Path) -> dict[str, TensorHeader]:
    for name in (WEIGHTS, _MLX_WEIGHTS):
        if is_regular(directory / name):
            tensors = _read_file(directory / name, root)
            break
    else:
        if not is_regular(directory / _INDEX):
            _no_weights(directory)
        tensors = _read_shards(directory, root)
    if not tensors:
        raise BadFile(
            "the adapter holds no tensors at all",
            where=str(directory / WEIGHTS),
            hint="it was saved before the shards of FSDP or DeepSpeed were gathered: gather, then save again",
            rule="GS205",
        )
    return tensors


def _read_file(file: Path, root: Path) -> dict[str, TensorHeader]:
    refuse_leaving(file, root)
    return dict(read_headers(file).tensors)


def _read_shards(directory: Path, root: Path) -> dict[str, TensorHeader]:
    """All tensors of a sharded adapter. The index and the shards must agree, tensor by tensor."""
    index = directory / _INDEX
    weight_map = read_object(index, root, 32 * MIB).get("weight_map")
    if not isinstance(weight_map, dict) or not all(_is_plain_name(name) for name in weight_map.values()):
        raise BadFile(
            f"{index.name}: weight_map should name a file beside it for each tensor",
            where=str(index),
            hint=_WHOLE,
            rule="GS005",
        )
    tensors: dict[str, TensorHeader] = {}
    for name in sorted(set(weight_map.values())):
        shard = directory / name
        if not is_regular(shard):
            raise BadFile(
                f"a part of the adapter is missing: {name}", where=f"{index} names it", hint=_WHOLE, rule="GS005"
            )
        tensors.update(_read_file(shard, root))
    for name, tensor in tensors.items():
        if weight_map.get(name) != tensor.file.name:
            raise BadFile(
                f"{index.name} and {tensor.file.name} do not agree",
                where=f"{index}: {name}",
                hint=_WHOLE,
                rule="GS005",
            )
    missing = sorted(set(weight_map) - set(tensors))
    if missing:
        raise BadFile(
            f"{weight_map[missing[0]]} lacks a tensor that {index.name} names",
            where=f"{index}: {missing[0]}",
            hint=_WHOLE,
            rule="GS005",
        )
    return tensors


def _is_plain_name(name: Any) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and name == Path(name).name and "\\" not in name


def _no_weights(directory: Path) -> NoReturn:
    raise NotARun(
        f"the adapter's weights are missing: no {WEIGHTS}",
        where=str(directory),
        hint="copy the whole directory again from where training ran",
        rule="GS005",
    )
