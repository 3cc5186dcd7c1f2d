"""``hpctune.progress_reporter``: reporters that show the progress."""

from hpctune.output.display.reporters import CLIReporter, JupyterNotebookReporter, ProgressReporter, TuneReporterBase

__all__ = ["CLIReporter", "JupyterNotebookReporter", "ProgressReporter", "TuneReporterBase"]
