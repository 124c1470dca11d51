"""What is done with such files: all that `inspect` does, and all that packaging does before the first byte is written.

Law of every trial: it ends with a good result, or with an error that says what, where, and what to do next.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner  # noqa: TID251

from ggship.bases.fit import check_fit
from ggship.bases.from_gguf import base_from_gguf
from ggship.bases.search import find_base
from ggship.cli import cli
from ggship.convert.routes import route_of
from ggship.errors import GgshipError
from ggship.gguf.reader import read_gguf
from ggship.runs import read_run
from ggship.runs.findings import findings

from .strategies import GOOD_CONFIG, GOOD_TENSORS


class Unclear(AssertionError):
    """An error that does not say all."""


def clear(error: GgshipError) -> GgshipError:
    """The error, if it says what, where and what next."""
    missing = [name for name in ("message", "where", "hint") if not getattr(error, name)]
    if missing:
        raise Unclear(f"no {' and no '.join(missing)}: {type(error).__name__}: {error}") from error
    return error


def write_run(folder: Path, files: dict[str, bytes]) -> Path:
    """A run of a good config and good tensors, with these files in their place; a fresh folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    good = {"adapter_config.json": json.dumps(GOOD_CONFIG).encode(), "adapter_model.safetensors": GOOD_TENSORS}
    for name, data in {**good, **files}.items():
        (folder / name).write_bytes(data)
    return folder


def write_base(file: Path) -> Path:
    """A llama of two blocks that the good tensors fit, with numbers enough to be a base."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(2)
    writer.add_embedding_length(16)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_token_list([f"t{number}" for number in range(32)])
    shapes = {"token_embd.weight": (32, 16), "blk.0.attn_q.weight": (16, 16), "blk.1.attn_v.weight": (8, 16)}
    for name, shape in shapes.items():
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def try_run(folder: Path, base: Path | None = None) -> str:
    """Read it, find all that can be found, look for its base; "" or the error's rule or message."""
    try:
        run = read_run(folder)
    except GgshipError as error:
        return clear(error).rule or error.message
    json.dumps([finding.document() for finding in findings(run, deep=True)])
    found = base_from_gguf(base) if base else None
    if found is not None:
        findings(run, found)
        for step in (check_fit, route_of):
            try:
                step(run, found)
            except GgshipError as error:
                clear(error)
    try:
        find_base(run, None)
    except GgshipError as error:
        clear(error)
    return ""


def try_inspect(folder: Path, *flags: str) -> None:
    """`ggship inspect`, with what it prints made into bytes."""
    result = CliRunner().invoke(cli, ["inspect", str(folder), *flags])
    result.stdout.encode("utf-8")
    if isinstance(result.exception, GgshipError):
        clear(result.exception)
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception


def try_gguf(file: Path, run: Path | None = None) -> str:
    """Read the header and every value in it; as a base too."""
    try:
        header = read_gguf(file)
        for value in header.metadata.values():
            value.decode()
            value.item_at(0)
        base = base_from_gguf(file)
    except GgshipError as error:
        return clear(error).message
    if run is not None:
        trained = read_run(run)
        findings(trained, base)
        for step in (check_fit, route_of):
            try:
                step(trained, base)
            except GgshipError as error:
                clear(error)
    return ""
