"""What stands for Slurm's ``srun`` where there is no Slurm: it drops srun's options and runs the program once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FUNCTION = r"""srun() {
echo "srun: this is no Slurm job, so the program runs once, on this machine" >&2
while :; do
case "$1" in
--multi-prog) echo "srun: --multi-prog needs a Slurm job" >&2; return 1 ;;
--*=*|--unbuffered|--label|--overlap|--overcommit|--oversubscribe|--exclusive|--exact|--pty|--quiet|--verbose) shift ;;
--contiguous|--immediate|--kill-on-bad-exit|--no-kill|--propagate|--preserve-env|--spread-job|--use-min-nodes) shift ;;
--disable-status|--resv-ports|--interactive|--whole) shift ;;
--*) shift; shift ;;
-[EHIKOQXZhklsuv]*) shift ;;
-?) shift; shift ;;
-?*) shift ;;
*) break ;;
esac
done
"$@"
}"""
"""A function of the shell."""


def directory_of_stand_in(private: Path) -> str | None:
    """A directory in ``private`` with a program ``srun``; None in a job of Slurm, and where there is Slurm: outside a
    job its srun asks for resources, which is what a program that calls it there wants."""
    if "SLURM_JOB_ID" in os.environ or shutil.which("srun") is not None:
        return None
    program = private / "without-slurm" / "srun"
    if not program.exists():
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\n{FUNCTION}\nsrun "$@"\n')
        program.chmod(0o700)
    return str(program.parent)
