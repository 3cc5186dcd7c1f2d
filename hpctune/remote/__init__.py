"""Clusters that are reached over ssh: code goes there, commands run there, results come back.

Nothing of it needs a port, a daemon or root there. What is done there is done by the ordinary command line, and by
:mod:`.cluster_side`, a program of the standard library that is brought along.
"""
