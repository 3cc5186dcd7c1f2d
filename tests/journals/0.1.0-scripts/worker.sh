#!/bin/bash

# Parameters
#SBATCH --comment=hpctune:eb8ff82a182f:w0001:1
#SBATCH --cpus-per-task=1
#SBATCH --error=/tmp/hpctune-frozen/results/jobs/workers/w0001/stderr
#SBATCH --job-name=jobs_w0001
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/tmp/hpctune-frozen/results/jobs/workers/w0001/stdout
#SBATCH --signal=USR2@90

# setup
export HPCTUNE_JOB_BEGAN="$SLURM_JOB_ID"" $EPOCHREALTIME"
export HPCTUNE_JOB_ID="$SLURM_JOB_ID"

# command
export SUBMITIT_EXECUTOR=slurm
exec srun --unbuffered --export=ALL --ntasks=1 --nodes=1 --cpus-per-task=1 --open-mode=append --output=/tmp/hpctune-frozen/results/jobs/workers/w0001/stdout --error=/tmp/hpctune-frozen/results/jobs/workers/w0001/stderr /tmp/hpctune-frozen/python/bin/python -u -m hpctune.worker.pool /tmp/hpctune-frozen/results/jobs w0001

# Trials that are submitted together go out as one job array: each is an element with its own output, variables and
# command, and has the id ARRAY_INDEX. SlurmOptions(array=False): each is a job of its own.

# takes trial after trial, each as: /tmp/hpctune-frozen/python/bin/python -u -m hpctune.worker /tmp/hpctune-frozen/results/jobs climb_eb8ff_00000_0 1
