"""Search spaces: what values each hyperparameter may take, and how configurations are drawn from them.

Defining a space loads no numpy; drawing from it does.
"""

from hpctune.space.domain import Categorical, Domain
from hpctune.space.function import Function
from hpctune.space.functions import (
    choice,
    grid_search,
    lograndint,
    loguniform,
    qlograndint,
    qloguniform,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    sample_from,
    uniform,
)
from hpctune.space.numeric import Float, Integer
from hpctune.space.samplers import Grid, LogUniform, Normal, Quantized, Sampler, Uniform
from hpctune.space.tags import experiment_tag, format_vars
from hpctune.space.tree import domains, flatten_dict, grids, has_unresolved, unflatten_dict, walk
from hpctune.space.variants import Variant, Variants, variants

__all__ = [
    "Categorical",
    "Domain",
    "Float",
    "Function",
    "Grid",
    "Integer",
    "LogUniform",
    "Normal",
    "Quantized",
    "Sampler",
    "Uniform",
    "Variant",
    "Variants",
    "choice",
    "domains",
    "experiment_tag",
    "flatten_dict",
    "format_vars",
    "grid_search",
    "grids",
    "has_unresolved",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "sample_from",
    "unflatten_dict",
    "uniform",
    "variants",
    "walk",
]
