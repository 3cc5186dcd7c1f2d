"""``hpctune.decisions``: what a scheduler of your own may answer when it is asked about a trial."""

from hpctune.model.decisions import CONTINUE, Continue, Decision, Exploit, Pause, Reallocate, Stop

__all__ = ["CONTINUE", "Continue", "Decision", "Exploit", "Pause", "Reallocate", "Stop"]
