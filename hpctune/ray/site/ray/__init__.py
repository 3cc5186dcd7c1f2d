"""What ``import ray`` finds if this directory's parent is on Python's search path: hpctune, under Ray's names."""

import sys
from pathlib import Path

try:
    from hpctune.ray.modules import become_ray
except ModuleNotFoundError as error:
    if error.name != "hpctune":
        raise
    sys.path.append(str(Path(__file__).resolve().parents[4]))  # another Python, or a copy that is not installed
    from hpctune.ray.modules import become_ray

become_ray(sys.modules[__name__])
