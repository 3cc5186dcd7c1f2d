"""``hpctune.context``: what a running trial knows about itself."""

from hpctune.worker import TuneContext, get_context

__all__ = ["TuneContext", "get_context"]
