"""Replacement for the user's script in a process that a trial has spawned: it builds the script's ``__main__`` again.

multiprocessing executes this module, and uses the names that it defines as the names of ``__main__``.
"""

from hpctune.storage import bundle

globals().update(bundle.spawned_names())
