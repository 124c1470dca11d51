"""The weights of the base as one file: known by content before they are needed, made only when they are."""

from __future__ import annotations

from pathlib import Path

from ggship.bases.model import Base
from ggship.digests import DigestCache
from ggship.errors import BaseNotFound
from ggship.progress import Progress, Reading, Silent
from ggship.runner import Runner


class BaseFile:
    """The file that a base's weights are in, or will be: a Hugging Face directory becomes one when `file` is called.

    Law: `key` says what `file` will hold without making it, so that a job with nothing to do converts nothing.
    """

    def __init__(self, base: Base, digests: DigestCache, runner: Runner) -> None:
        self._base = base
        self._digests = digests
        self._runner = runner
        self._key = ""

    def key(self, progress: Progress | None = None) -> str:
        """Digest of the file, or of the directory that it will be made of. Read once; a large file gets its step."""
        if not self._key:
            self._key = self._read(progress or Silent())
        return self._key

    def file(self, progress: Progress) -> Path:
        """The file, made now where it is not there. Raises as `hf_to_gguf` does."""
        if self._base.gguf is not None:
            return self._base.gguf
        from ggship.bases.to_gguf import hf_to_gguf

        there = self.known()
        if there is not None:
            return there
        progress.start("Converting the base to GGUF, once")
        made = hf_to_gguf(self._directory(), runner=self._runner)
        progress.done(made.name)
        return made

    def known(self) -> Path | None:
        """The file where it is there already; None where it would have to be made, or where there are no weights."""
        if self._base.gguf is not None or self._base.config_dir is None:
            return self._base.gguf
        from ggship.bases.to_gguf import converted_place

        place = converted_place(self._base.config_dir, self.key())
        return place if place.is_file() else None

    def _read(self, progress: Progress) -> str:
        title = "Reading the base"
        if self._base.gguf is not None:
            reading = Reading(progress, title, self._base.gguf.stat().st_size)
            key = self._digests.sha256(self._base.gguf, reading)
        else:
            from ggship.bases.from_directory import weight_files
            from ggship.bases.to_gguf import content_key, need_convertible

            directory = self._directory()
            need_convertible(directory)
            reading = Reading(progress, title, sum(path.stat().st_size for path in weight_files(directory)))
            key = content_key(directory, on_bytes=reading)
        reading.done()
        return key

    def _directory(self) -> Path:
        if self._base.config_dir is None:
            raise BaseNotFound(
                "the base's weights are not a file on this machine",
                where=self._base.ref,
                hint="name the same model as a file with --base FILE.gguf",
            )
        return self._base.config_dir
