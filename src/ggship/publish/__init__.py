"""Bring a proven package to a registry."""

from ggship.publish.ollama import Published, publish_to_registry
from ggship.publish.registry import Layer, Manifest, Registry
from ggship.publish.target import Target, parse_target
from ggship.releases.proof import need_proof

__all__ = ["Layer", "Manifest", "Published", "Registry", "Target", "need_proof", "parse_target", "publish_to_registry"]
