"""Files of jobs whose nodes do not see the experiment's directory: by SFTP, between the job and the driver's host.

``SlurmOptions(file_transfer=FileTransfer(...))`` puts this package between Slurm and the worker. The job's process
(:mod:`.job`) copies what the worker reads from the driver's host into a directory of the node (:mod:`.inputs`), starts
the worker there, and from then on copies what the worker writes to the driver's host (:mod:`.outputs`) and what the
driver writes to the node (:mod:`.orders`).

The order in which things become visible is that of a common filesystem: a run file exists before user code runs, a
checkpoint is complete before a row names it, and the exit record is last.
"""
