"""The checks of ``hpctune fsck``, one file for each kind of file in an experiment."""
