"""Errors a person can act on. Each message names the thing, the rule and the remedy.

Pages turn an `FVMError` into `st.error` and stop; the command line prints it and exits with 2;
a job writes it into its status. Any other exception is a defect of ours and keeps its traceback.
"""


class FVMError(ValueError):
    """Base of every error that the input, the settings or the machine caused, not a defect."""


class DataError(FVMError):
    """A dataset, an image, a label file or a validation set cannot be used as it is."""


class CheckpointError(FVMError):
    """A weights file is unsafe, damaged, or does not fit the architecture."""


class SettingsError(FVMError):
    """A setting is outside its range."""


class JobError(FVMError):
    """A job cannot be started, resumed or controlled."""


class ReviewError(FVMError):
    """A decision or an export cannot be recorded."""


class StorageError(FVMError):
    """The disk refused a write (full, read-only); what was there before is untouched."""
