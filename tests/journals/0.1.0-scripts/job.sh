#!/bin/bash

# Parameters
#SBATCH --comment=hpctune:6c26d8ea203c:6c26d_00000:1
#SBATCH --cpus-per-task=1
#SBATCH --error=/tmp/hpctune-frozen/results/jobs/climb_6c26d_00000_0/stderr
#SBATCH --job-name=climb_6c26d_00000
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/tmp/hpctune-frozen/results/jobs/climb_6c26d_00000_0/stdout
#SBATCH --signal=USR2@90

# setup
export HPCTUNE_JOB_BEGAN="$SLURM_JOB_ID"" $EPOCHREALTIME"
export HPCTUNE_JOB_ID="$SLURM_JOB_ID"

# command
export SUBMITIT_EXECUTOR=slurm
exec srun --unbuffered --export=ALL --ntasks=1 --nodes=1 --cpus-per-task=1 --open-mode=append --output=/tmp/hpctune-frozen/results/jobs/climb_6c26d_00000_0/stdout --error=/tmp/hpctune-frozen/results/jobs/climb_6c26d_00000_0/stderr /tmp/hpctune-frozen/python/bin/python -u -m hpctune.worker /tmp/hpctune-frozen/results/jobs climb_6c26d_00000_0 1

# Trials that are submitted together go out as one job array: each is an element with its own output, variables and
# command, and has the id ARRAY_INDEX. SlurmOptions(array=False): each is a job of its own.
