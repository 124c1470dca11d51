"""The weights of the base as one file: known by content before they are needed, made only when they are."""

from __future__ import annotations

from pathlib import Path

from ggship.bases.model import Base
from ggship.digests import DigestCache, digest_of
from ggship.errors import BaseNotFound
from ggship.progress import Progress, Reading, Silent, counting
from ggship.runner import Runner


class BaseFile:
    """The file that a base's weights are in, or will be.

    A Hugging Face directory becomes one when `file` or `source` is called, the parts of a split GGUF only with `file`.
    Law: `key` says what `file` will hold without making it, so that a job with nothing to do converts nothing.
    """

    def __init__(self, base: Base, digests: DigestCache, runner: Runner) -> None:
        self._base = base
        self._digests = digests
        self._runner = runner
        self._key = ""

    def key(self, progress: Progress | None = None) -> str:
        """Digest of the file, of the parts, or of the directory that it will be made of.

        Read once; a large file gets its step.
        """
        if not self._key:
            self._key = self._read(progress or Silent())
        return self._key

    def source(self, progress: Progress) -> Path:
        """What a merge reads: the file, or the first part of a split model. Raises as `hf_to_gguf` does."""
        return self._base.gguf if self._base.gguf is not None else self.file(progress)

    def file(self, progress: Progress) -> Path:
        """One file, made now where it is not there. Raises as `hf_to_gguf` and `copy_model` do."""
        there = self.known()
        if there is not None:
            return there
        if self._base.gguf is not None:
            return self._joined(self._base.gguf, progress)
        from ggship.bases.to_gguf import hf_to_gguf

        progress.start("Converting the base to GGUF, once")
        made = hf_to_gguf(self._directory(), runner=self._runner)
        progress.done(made.name)
        return made

    def known(self) -> Path | None:
        """The file where it is there already; None where it would have to be made, or where there are no weights."""
        place = self.place()
        return place if place is not None and place.is_file() else None

    def place(self) -> Path | None:
        """Where the file lies, or will; None where there are no weights to make one of."""
        from ggship.bases.to_gguf import converted_place

        if self._base.gguf is not None:
            parts = self.parts()
            return self._base.gguf if len(parts) == 1 else converted_place(parts[0], self.key())
        if self._base.config_dir is None:
            return None
        return converted_place(self._base.config_dir, self.key())

    def parts(self) -> tuple[Path, ...]:
        """The GGUF files of the base: one, but for a split one; none where it is a directory."""
        if self._base.gguf is None:
            return ()
        from ggship.gguf.parts import files_of

        return files_of(self._base.gguf)

    def _joined(self, first: Path, progress: Progress) -> Path:
        from ggship.bases.to_gguf import joined

        out = self.place()
        assert out is not None
        progress.start("Joining the parts of the base, once", unit="tensors")
        joined(first, out, on_tensor=counting(progress))
        progress.done(out.name)
        return out

    def _read(self, progress: Progress) -> str:
        title = "Reading the base"
        if self._base.gguf is not None:
            parts = self.parts()
            reading = Reading(progress, title, sum(part.stat().st_size for part in parts))
            digests = [self._digests.sha256(part, reading) for part in parts]
            key = digests[0] if len(digests) == 1 else digest_of({"parts": digests})
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
