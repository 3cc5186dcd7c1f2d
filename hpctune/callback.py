"""``hpctune.callback``: hooks into an experiment."""

from hpctune.output.callback import Callback, CallbackList

__all__ = ["Callback", "CallbackList"]
