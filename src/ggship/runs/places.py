"""Choose which directory of a run the adapter is taken from, and say why; or say what lies there instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ggship.errors import NotARun, UsageError
from ggship.runs.config import CONFIG_NAME
from ggship.runs.files import is_regular, list_directory
from ggship.runs.history import checkpoint_directories, read_history, step_of
from ggship.runs.model import History

_TRAINING_FILES = ("trainer_state.json", "trainer_log.jsonl", "args.json", "torchtune_config.yaml")
_LOOKED_FOR = f"{CONFIG_NAME} with adapter_model.safetensors, there or in checkpoint-N"


@dataclass(frozen=True, slots=True)
class Place:
    """root: the run; path: where its adapter is taken from; chosen: why, in words."""

    root: Path
    path: Path
    chosen: str
    checkpoints: tuple[Path, ...]
    history: History


def choose_place(given: Path, checkpoint: str | None = None) -> Place:
    """Find the adapter in what the user pointed at.

    `checkpoint` names one: checkpoint-500, 500, best or last. Without it: the directory itself where it holds an
    adapter, else the checkpoint that training held to be best, else the last one, else the one named adapter in a
    subfolder. Raises NotARun, or UsageError where there is no such checkpoint.
    """
    _refuse_no_directory(given)
    if given.name in ("", "..") and step_of(given.resolve().name) is not None:
        given = given.resolve()  # `.` in a checkpoint
    if checkpoint is None and _has_adapter(given) and step_of(given.name) is not None:
        return _named_checkpoint(given)
    checkpoints = checkpoint_directories(given)
    history = read_history(given, checkpoints)
    if checkpoint is not None:
        path, chosen = _asked_for(given, checkpoint, checkpoints, history)
    elif _has_adapter(given):
        path, chosen = given, _final(checkpoints, history)
    elif checkpoints:
        path, chosen = _best_or_last(checkpoints, history)
    else:
        path, chosen = _subfolder(given)
        if any(is_regular(path / name) for name in _TRAINING_FILES) or checkpoint_directories(path):
            inner = choose_place(path)  # a whole run, one folder deeper
            return Place(inner.root, inner.path, f"{path.name}: {inner.chosen}", inner.checkpoints, inner.history)
    return Place(given, path, chosen, checkpoints, history)


def _has_adapter(directory: Path) -> bool:
    return is_regular(directory / CONFIG_NAME)


def _named_checkpoint(given: Path) -> Place:
    parent = given.absolute().parent if given.parent == given or str(given.parent) == "." else given.parent
    siblings = checkpoint_directories(parent)
    if len(siblings) > 1 or any(is_regular(parent / name) for name in (*_TRAINING_FILES, CONFIG_NAME)):
        root, checkpoints = parent, siblings
    else:
        root, checkpoints = given, ()
    # The last checkpoint knows all that came before; one in the middle would know nothing of those after it.
    history = read_history(root, checkpoints or (given,))
    return Place(root, given, f"{given.name}, the one you named", checkpoints, history)


def _asked_for(given: Path, wanted: str, checkpoints: Sequence[Path], history: History) -> tuple[Path, str]:
    by_name = {path.name: path for path in checkpoints}
    if wanted == "last" and checkpoints:
        return checkpoints[-1], f"{checkpoints[-1].name}, the last, as you asked"
    if wanted == "best" and history.best in by_name:
        return by_name[history.best], f"{history.best}, the best one that training named, as you asked"
    for name in (wanted, f"checkpoint-{wanted}", f"epoch_{wanted}"):
        if name in by_name:
            return by_name[name], f"{name}, the one you named"
    there = ", ".join(by_name) or "none"
    best = f"; best as training named it: {history.best or 'none'}" if wanted == "best" else ""
    raise UsageError(f"there is no checkpoint {wanted!r}", where=f"{given}: {there}{best}")


def _final(checkpoints: Sequence[Path], history: History) -> str:
    if not checkpoints:
        return "the adapter in the directory itself"
    best = [path.name for path in checkpoints if path.name == history.best]
    aside = f"; training named {best[0]} its best checkpoint" if best else ""
    return f"the final adapter, at the top of the run{aside}"


def _best_or_last(checkpoints: Sequence[Path], history: History) -> tuple[Path, str]:
    last = checkpoints[-1]
    if len(checkpoints) == 1:
        return last, f"{last.name}, the only checkpoint"
    for path in checkpoints:
        if path.name == history.best:
            return path, f"{path.name}, the best of {len(checkpoints)} checkpoints as training named it"
    evals = {step: value for step, _, value in history.points if value is not None}
    scored = [path for path in checkpoints if step_of(path.name) in evals]
    lowest = min(scored, key=lambda path: evals[step_of(path.name) or 0]) if scored else last
    aside = f" ({lowest.name} had the lowest eval loss)" if lowest != last else ""
    return last, f"{last.name}, the last of {len(checkpoints)} checkpoints; training named none best{aside}"


def _subfolder(given: Path) -> tuple[Path, str]:
    """The only named adapter (PEFT saves one that is not called `default` in a folder of its name)."""
    entries = list_directory(given)
    directories = [given / name for name, entry in entries.items() if entry.is_dir()]
    adapters = [path for path in directories if _has_adapter(path)]
    if len(adapters) == 1:
        return adapters[0], f"{adapters[0].name}, the only adapter in the directory"
    if adapters:
        names = ", ".join(path.name for path in adapters)
        raise NotARun(
            f"several adapters lie in that directory: {names}",
            where=str(given),
            hint=f"name one: ggship inspect {adapters[0]}",
        )
    deeper = [path for path in directories if checkpoint_directories(path)] if len(directories) <= 1000 else []
    raise NotARun("there is no adapter here", where=_lies_there(given, set(entries), deeper), hint=_hint(deeper))


def _lies_there(given: Path, names: set[str], deeper: Sequence[Path]) -> str:
    first = f"{given}\nlooked for: {_LOOKED_FOR}"
    return f"{first}\nfound: {_found(names, deeper)}"


def _found(names: set[str], deeper: Sequence[Path]) -> str:
    if not names:
        return "an empty directory"
    if deeper:
        return f"a run with checkpoints in {', '.join(path.name for path in deeper[:3])}"
    if any(name.startswith(("adapter_model.", "adapters.")) for name in names):
        return f"an adapter's weights, but no {CONFIG_NAME}"
    weights = [name for name in names if name.endswith((".safetensors", ".bin")) and "model" in name]
    if "config.json" in names and weights:
        return f"a full model (config.json, {min(weights)}), not an adapter"
    if any(step_of(name) is not None for name in names):
        return "checkpoints, but no adapter in them: full training saves whole models"
    models = sorted(name for name in names if name.endswith(".gguf"))
    if models:
        return f"a GGUF model ({models[0]})"
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _hint(deeper: Sequence[Path]) -> str:
    if deeper:
        return f"ggship inspect {deeper[0]}"
    return "point at the directory that training wrote (its output_dir), or at one of its checkpoints"


def _refuse_no_directory(given: Path) -> None:
    if given.is_dir():
        return
    if given.is_file():
        inside: Mapping[bool, str] = {
            True: f"ggship inspect {given.parent}",
            False: "point at the directory that training wrote",
        }
        raise NotARun("that is a file; a run is a directory", where=str(given), hint=inside[_has_adapter(given.parent)])
    if given.is_symlink():
        raise NotARun("that link leads nowhere", where=f"{given} -> {given.readlink()}")
    near = _near(given)
    raise NotARun("there is no such directory", where=str(given), hint=f"did you mean {near}?" if near else "")


def _near(given: Path) -> Path | None:
    """The sibling with the nearest name."""
    from difflib import get_close_matches

    parent = given.parent
    if not parent.is_dir():
        return None
    names = [name for name, entry in list_directory(parent).items() if entry.is_dir()]
    match = get_close_matches(given.name, names, n=1, cutoff=0.6)
    return parent / match[0] if match else None
