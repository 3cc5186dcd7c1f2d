"""The exit codes by which a job says that its files could not be transferred. They are those of ``sysexits.h``."""

from __future__ import annotations

NO_DIRECTORY = 73
"""The job's own directory could not be made on the node."""
UNREACHABLE = 75
"""The driver's host could not be reached for too long. This is not the trial's fault."""
REFUSED = 77
"""The driver's host does not let the job in, or is not known on the node."""
STAGE_PREFIX = "hpctune-job-"
"""How the names of jobs' own directories begin; the job's id follows."""
STAGE_VARIABLE = "HPCTUNE_JOB_DIR"
"""Names the job's own directory."""
