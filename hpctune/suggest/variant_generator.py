"""The older name of :mod:`hpctune.search.variant_generator`."""

from hpctune.search.variant_generator import format_vars, generate_variants, grid_search

__all__ = ["format_vars", "generate_variants", "grid_search"]
