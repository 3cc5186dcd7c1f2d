"""What a process that a trial has spawned runs in the place of the script: it makes the script's ``__main__`` again.

multiprocessing executes this module and takes what it defines for the names of ``__main__``.
"""

from hpctune.storage import bundle

globals().update(bundle.spawned_names())
