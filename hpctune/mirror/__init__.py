"""A copy of an experiment in another place: an object store, another machine, another filesystem.

The experiment lives in its directory. The copy follows it, by a thread of the driver that never delays it.
"""
