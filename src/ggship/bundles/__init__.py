"""A package as one file that travels without a network, whole or thin, and back."""

from ggship.bundles.bring import BringOptions, Brought, bring
from ggship.bundles.export import Exported, export_package
from ggship.bundles.manifest import BundleFile, Manifest, Rebuild

__all__ = ["BringOptions", "Brought", "BundleFile", "Exported", "Manifest", "Rebuild", "bring", "export_package"]
