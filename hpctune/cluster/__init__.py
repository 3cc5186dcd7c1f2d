"""Where jobs run: Slurm (through submitit), this machine, or this very process. ``choose.make_cluster`` picks.

submitit is imported only when the first job is submitted or shown.
"""
