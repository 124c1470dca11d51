"""Arrays used again and again: fresh ones cost more than the arithmetic in them, for each page is zeroed first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Scratch:
    """The working memory of one thread: an array by name, kept until a larger one is asked for."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """A C-ordered array of that name, holding anything; the next one of the same name takes its memory."""
        kind = np.dtype(dtype)
        nbytes = kind.itemsize
        for size in shape:
            nbytes *= size
        buffer = self._buffers.get(name)
        if buffer is None or buffer.nbytes < nbytes:
            buffer = self._buffers[name] = np.empty(nbytes, np.uint8)
        array: NDArray[Any] = buffer[:nbytes].view(kind).reshape(shape)
        return array
