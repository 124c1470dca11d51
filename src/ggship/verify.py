"""Everything that must hold of a package on disk, recomputed: digests, the Modelfile, the GGUF files."""

from __future__ import annotations

from dataclasses import replace

from ggship.errors import Damaged, GgshipError
from ggship.package import MODELFILE, PackageInfo, Verified, verify_files


def verify_package(info: PackageInfo) -> Verified:
    """Recompute every digest, then check the laws of what the files say. Raises Damaged with all that does not hold."""
    verified = verify_files(info)
    return replace(verified, laws=(*verified.laws, *_modelfile(info), *_weights(info)))


def _modelfile(info: PackageInfo) -> tuple[str, ...]:
    from ggship.modelfile import parse, render

    path = info.path / MODELFILE
    try:
        modelfile = parse(path.read_text("utf-8"))
    except GgshipError as error:
        raise Damaged("the Modelfile is not understood", where=str(error)) from error
    if parse(render(modelfile)) != modelfile:
        raise Damaged("the Modelfile does not survive being read and written again", where=str(path))
    for source in (modelfile.from_, modelfile.adapter):
        if source and source.startswith("./") and not (info.path / source).is_file():
            raise Damaged(f"the Modelfile names {source}, which is not there", where=str(path))
    return ("the Modelfile reads back as it was written, and every file it names is here",)


def _weights(info: PackageInfo) -> tuple[str, ...]:
    from ggship.gguf.reader import read_gguf

    laws = []
    for section, what in (("adapter", "adapter"), ("merge", "merged model")):
        part = info.document.get(section)
        if not isinstance(part, dict):
            continue
        file = read_gguf(info.path / str(part["file"]))
        if section == "adapter" and len(file.tensors) != 2 * part["pairs"]:
            raise Damaged(
                f"the adapter holds {len(file.tensors)} tensors, not two for each of {part['pairs']} pairs",
                where=str(file.path),
            )
        if section == "merge" and part["merged"] != part["pairs"]:
            raise Damaged(f"only {part['merged']} of {part['pairs']} pairs were merged", where=str(file.path))
        laws.append(f"the {what} is a whole GGUF file of {len(file.tensors)} tensors")
    return tuple(laws)
