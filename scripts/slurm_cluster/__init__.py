"""A private Slurm cluster on one machine: several nodes with fake GPUs, any user, several clusters side by side.

options.py    what a user may choose
layout.py     where everything of one cluster lies
config.py     the text of Slurm's configuration files
processes.py  which processes of this machine belong to a cluster
daemons.py    starting one daemon and waiting until it really answers
accounting.py MariaDB, slurmdbd and the associations
cluster.py    up, down, status: the only place that orders the steps
cli.py        the command line

Only the standard library is used: the script runs before anything is installed.
"""
