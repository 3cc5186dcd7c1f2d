"""What ``import wandb`` finds first in a trial of a W&B sweep: it gives way to the real package, or to a stand-in."""

from hpctune_wandb import load

load()
