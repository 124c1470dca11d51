"""Bring a proven package to a registry, or to the Hugging Face hub."""

from ggship.publish.ollama import Published, publish_to_registry
from ggship.publish.registry import Layer, Manifest, Registry
from ggship.publish.target import HubPlace, Target, parse_place, parse_target
from ggship.releases.proof import need_passed, need_proof

__all__ = [
    "HubPlace",
    "Layer",
    "Manifest",
    "Published",
    "Registry",
    "Target",
    "need_passed",
    "need_proof",
    "parse_place",
    "parse_target",
    "publish_to_registry",
]
