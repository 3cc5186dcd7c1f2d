"""Distributed trials: one trial as several processes, its ranks.

The trial's process is the *head*: it holds the session and starts the ranks (:mod:`~hpctune.worker.ranks.starting`), in
a Slurm job by one ``srun``, else as child processes. Each rank connects to the head and says where it is
(:mod:`~hpctune.worker.ranks.link`). When all are there, the head tells all of them where all are
(:mod:`~hpctune.worker.ranks.world`): that is the rendezvous of torch, TensorFlow and JAX. It is made again at every
start, so a requeued job needs nothing of the earlier one. Results, checkpoints, signals and errors come to the head
over the same connections (:mod:`~hpctune.worker.ranks.head`). So all that is true of a trial of one process holds here.
"""
