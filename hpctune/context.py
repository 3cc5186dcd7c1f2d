"""``hpctune.context``: information for a running trial about itself."""

from hpctune.worker import TuneContext, get_context

__all__ = ["TuneContext", "get_context"]
