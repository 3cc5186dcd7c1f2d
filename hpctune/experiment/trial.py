"""``hpctune.experiment.trial``: one trial."""

from hpctune.trial import Trial

__all__ = ["ExportFormat", "Trial"]


class ExportFormat:
    """Values of ``export_formats``; any other text goes to ``export_model`` as well."""

    CHECKPOINT = "checkpoint"
    MODEL = "model"
    ONNX = "onnx"
    H5 = "h5"
