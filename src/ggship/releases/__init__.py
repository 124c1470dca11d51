"""Names people use: staging, promotion, what was released."""

from ggship.releases.names import Known, find_package, known_names, load_package, need_memory, recall, remember

__all__ = ["Known", "find_package", "known_names", "load_package", "need_memory", "recall", "remember"]
