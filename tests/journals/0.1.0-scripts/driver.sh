#!/bin/bash
#SBATCH --job-name=hpctune-driver-jobs
#SBATCH --comment=hpctune-driver:21f578dc23f5
#SBATCH --output=/dev/null
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --signal=B:USR1@120
#SBATCH --no-requeue
trap '' USR1  # until Python has a handler for it: a short limit makes Slurm send it at the start
exec >>/tmp/hpctune-frozen/results/jobs/drivers/"$SLURM_JOB_ID".out 2>&1
exec /tmp/hpctune-frozen/python/bin/python -u -m hpctune.cli.drivejob /tmp/hpctune-frozen/results/jobs
