"""What ``import sacred`` finds first in a trial of a Sacred experiment: it gives way to the real package."""

from hpctune_sacred import load

load()
