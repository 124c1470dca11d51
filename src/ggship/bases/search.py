"""Find the base of a run: the one the user names, else one that fits, by where it would lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ggship.bases.fit import check_fit, fits
from ggship.bases.from_directory import base_from_directory, is_base_directory, weight_files
from ggship.bases.from_gguf import base_from_gguf
from ggship.bases.hub import HubRef, cached_repositories, modelscope_directory
from ggship.bases.likeness import likeness, repository_of, tells_a_model, unquantized
from ggship.bases.model import Base
from ggship.bases.refs import from_hub, resolve_ref
from ggship.bases.served import OllamaLister, base_from_ollama
from ggship.errors import BaseNotFound, GgshipError, ServerError, UsageError
from ggship.gguf.parts import first_part
from ggship.runs.model import Run

_HERE = Path()
_HOLDS = "the Ollama server holds it"
_LIKE = 0.5  # from here on a name counts as the one that training wrote down
# Words in names of what training or ggship makes: a merged model fits its own adapter, and is no base.
_PRODUCTS = ("merged", "fused", "export", "adapter", "lora", "mmproj")
_TYPES = ("F32", "BF16", "F16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0")


@dataclass
class _Search:
    """What was looked at so far; every line ends up in the error where nothing is found."""

    run: Run
    looked_at: list[str] = field(default_factory=list)
    spare: list[Base] = field(default_factory=list)

    def take(self, place: str, candidates: Iterable[Base], *, by_name: bool = True) -> Base | None:
        """The best of the candidates that fit. With `by_name` its name must be the one that training wrote down."""
        before = len(self.looked_at)
        fitting = [base for base in candidates if self._fits(base)]
        if not fitting:
            if len(self.looked_at) == before:
                self.looked_at.append(f"{place}: nothing")
            return None
        # One file under two names: what is in it says the same of both, so the name itself decides.
        ranked = sorted(fitting, key=lambda one: (-self._likeness(one), _precision(one), -self._called_so(one)))
        best = self._explain(ranked)
        if not by_name or self._likeness(best) >= _LIKE:
            return best
        self.spare.append(best)
        return None

    def only_by_shape(self) -> Base | None:
        """The one base that fits, where training wrote down no name of a model; several are never guessed between."""
        if len(self.spare) != 1 or self.spare[0].alternatives or tells_a_model(self.run.base_named):
            return None
        base = self.spare[0]
        return replace(base, found=f"{base.found} by its shapes; training wrote down no name of a model")

    def read(self, ref: str, read: Callable[[], Base], found: str) -> Iterator[Base]:
        """The base that `read` gives; where it gives none, why not is remembered for the error."""
        try:
            base = read()
        except GgshipError as error:
            self.looked_at.append(f"{ref}: {error.message}")
            return
        if any(key.startswith("ggship.") for key in base.metadata):
            self.looked_at.append(f"{ref}: ggship made it from an adapter")
            return
        yield replace(base, found=found)

    def _fits(self, base: Base) -> bool:
        try:
            check_fit(self.run, base)
        except GgshipError as error:
            reason = error.where.splitlines()[1:2] or [error.message]
            self.looked_at.append(f"{base.ref}: does not fit ({reason[0]})")
            return False
        return True

    def _likeness(self, base: Base) -> float:
        names = [_called(base), str(base.metadata.get("general.name", "")), _identity(base)]
        return likeness(self.run.base_named, *names)

    def _called_so(self, base: Base) -> float:
        return likeness(self.run.base_named, _called(base))

    def _explain(self, ranked: list[Base]) -> Base:
        best, others = ranked[0], tuple(base.ref for base in ranked[1:])
        if not others:
            return replace(best, found=f"{best.found}, and it fits")
        if self._likeness(best) > self._likeness(ranked[1]):
            why = "its name is nearest to the one that training wrote down"
        elif _precision(best) < _precision(ranked[1]):
            why = "it has kept the most precision"
        elif self._called_so(best) > self._called_so(ranked[1]):
            why = "it is called by the name that training wrote down"
        else:
            why = "it comes first"
        return replace(best, found=f"{best.found}; {len(ranked)} fit, {why}", alternatives=others)


def find_base(
    run: Run | None,
    ref: str | None,
    *,
    ollama: OllamaLister | None = None,
    pull: bool = False,
    cwd: Path = _HERE,
) -> Base:
    """The base model of the run.

    ref: what the user named (a GGUF file, a Hugging Face directory, ollama:NAME, hf:REPO[@REV][:FILE]); it is taken
    whether it fits or not: `check_fit` tells. Without it, the first of these that fits: the path in
    adapter_config.json; a GGUF file or Hugging Face directory beside the run, or in it; a model that the Ollama server
    holds; the Hugging Face cache. `Base.found` says where and why, `Base.alternatives` what else would have fitted.

    Raises BaseNotFound with all that was looked at, and UsageError for a ref that is none. Nothing is downloaded
    unless `pull`.
    """
    if ref is not None:
        return resolve_ref(ref, ollama=ollama, pull=pull, cwd=cwd)
    if run is None:
        raise UsageError("there is no run to find a base for", hint="name the base with --base")
    search = _Search(run)
    named = run.base_named or "no base"
    by_path = search.take(f"the path that training named ({named})", _named_path(run, cwd, search), by_name=False)
    if by_path is not None:
        return by_path
    for place, candidates in (
        ("beside the run", _beside(run, search)),
        ("Ollama", _served(run, ollama, search)),
        ("the caches of Hugging Face and ModelScope", _from_caches(run, pull, search)),
    ):
        found = search.take(place, candidates)
        if found is not None:
            return found
    by_shape = search.only_by_shape()
    if by_shape is not None:
        return by_shape
    raise _not_found(run, search)


def _named_path(run: Run, cwd: Path, search: _Search) -> Iterator[Base]:
    if not run.base_named:
        return
    named = Path(run.base_named).expanduser()
    paths = {(start / named).resolve(): start / named for start in (run.path, run.root, cwd)}
    for path in paths.values():
        if path.exists():
            yield from search.read(str(path), partial(resolve_ref, str(path)), "adapter_config.json names it")


def _beside(run: Run, search: _Search) -> Iterator[Base]:
    top = run.root.absolute()
    for place in dict.fromkeys((top, run.path.absolute(), top.parent)):
        for path in _entries(place):
            if path in (top, run.path.absolute()):
                continue
            if path.suffix == ".gguf" and path.is_file():
                if first_part(path) not in (None, path.name):
                    continue  # its first part stands for the whole model
                read = partial(base_from_gguf, path)
            elif path.is_dir() and is_base_directory(path):
                read = partial(base_from_directory, path)
            else:
                continue
            if any(word in path.name.lower() for word in _PRODUCTS):
                search.looked_at.append(f"{path}: by its name it is a product of training")
                continue
            where = "in" if place != top.parent else "beside"
            yield from search.read(str(path), read, f"it lies {where} the run")


def _served(run: Run, ollama: OllamaLister | None, search: _Search) -> Iterator[Base]:
    if ollama is None:
        search.looked_at.append("Ollama: no server was asked")
        return
    try:
        names = list(ollama.tags())
        local = bool(names) and ollama.is_local()
    except ServerError as error:
        search.looked_at.append(f"Ollama: {error}")
        return
    look = partial(base_from_ollama, ollama, local=local)
    for name in names:
        ref = f"ollama:{name}"
        # Dimensions first: the list of tensors is megabytes on servers since 0.34.
        for base in search.read(ref, partial(look, name, tensors=False), _HOLDS):
            if base.tensors or not fits(run, base):
                yield base
            else:
                yield from search.read(ref, partial(look, name), _HOLDS)


def _from_caches(run: Run, pull: bool, search: _Search) -> Iterator[Base]:
    """What lies in the caches; with `pull`, and no weights there, what the hub has."""
    there = [*_cached(run, False, search), *_modelscope(run, search)]
    if pull and not any(base.gguf or (base.config_dir and weight_files(base.config_dir)) for base in there):
        there = list(_cached(run, True, search)) or there
    yield from there


def _modelscope(run: Run, search: _Search) -> Iterator[Base]:
    repository = repository_of(run.base_named)[0]
    path = modelscope_directory(unquantized(repository)) if repository else None
    if path is not None:
        yield from search.read(str(path), partial(resolve_ref, str(path)), "the ModelScope cache holds it")


def _cached(run: Run, pull: bool, search: _Search) -> Iterator[Base]:
    repository, revision = repository_of(run.base_named)
    if not repository:
        return
    original = unquantized(repository)
    name = original.rpartition("/")[2].casefold()
    same = [other for other in cached_repositories() if other.rpartition("/")[2].casefold() == name]
    for candidate in dict.fromkeys((original, *same)):
        wanted = (run.base_revision or revision) if candidate == repository else ""
        # What training named may be downloaded; a copy of that name elsewhere may only be used where it is.
        fetch = pull and candidate == original
        found = list(_at(HubRef(candidate, wanted), search, pull=fetch, found="the Hugging Face cache holds it"))
        if not found and wanted and not run.base_revision:
            aside = "the Hugging Face cache holds it, at another revision than training used"
            found = list(_at(HubRef(candidate), search, pull=False, found=aside))
        yield from found


def _at(ref: HubRef, search: _Search, *, pull: bool, found: str) -> Iterator[Base]:
    return search.read(str(ref), partial(from_hub, ref, pull=pull, found=""), found)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []  # a folder around the run that may not be read holds no base for us


def _called(base: Base) -> str:
    """The name that it goes by where it lies, without folders."""
    ref = base.ref.removeprefix("ollama:")
    return Path(ref).name if "/" in ref else ref


def _identity(base: Base) -> str:
    keys = ("general.basename", "general.size_label", "general.finetune")
    return " ".join(str(base.metadata.get(key, "")) for key in keys)


def _precision(base: Base) -> int:
    if base.config_dir is not None and base.gguf is None and not weight_files(base.config_dir):
        return len(_TYPES) + 1  # no weights at all: only good for an adapter
    return next((rank for rank, name in enumerate(_TYPES) if base.file_type.startswith(name)), len(_TYPES))


def _not_found(run: Run, search: _Search) -> BaseNotFound:
    repository = repository_of(run.base_named)[0]
    spare = [ref for base in search.spare for ref in (base.ref, *base.alternatives)]
    if spare:
        many = len(spare) > 1
        return BaseNotFound(
            f"which base was this trained on? {'Several fit' if many else 'One fits'} by shape, not by name",
            where=f"training named {run.base_named or 'none'}\n" + "\n".join(f"fits: {ref}" for ref in spare[:8]),
            hint=f"where it is the right one: --base {spare[0]}",
        )
    lines = "\n".join(search.looked_at[:12])
    remedy = f"--base hf:{unquantized(repository)} --pull downloads it" if repository else "name it with --base"
    return BaseNotFound(
        f"no base model was found for this run; training named {run.base_named or 'none'}",
        where=lines,
        hint=f"--base FILE.gguf, --base DIRECTORY or --base ollama:NAME; {remedy}",
    )
