"""``hpctune.progress_reporter``: how progress is shown."""

from hpctune.output.display.reporters import CLIReporter, JupyterNotebookReporter, ProgressReporter, TuneReporterBase

__all__ = ["CLIReporter", "JupyterNotebookReporter", "ProgressReporter", "TuneReporterBase"]
