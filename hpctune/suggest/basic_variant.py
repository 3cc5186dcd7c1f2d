"""The older name of :mod:`hpctune.search.basic_variant`."""

from hpctune.search.basic_variant import BasicVariantGenerator

__all__ = ["BasicVariantGenerator"]
