import pickle

import pytest

from fdps import errors
from fdps.errors import FdpsError, TrainingDiverged, UsageError

CLASSES = [getattr(errors, name) for name in errors.__all__]
CODES = {
    "FdpsError": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "DataError": 3,
    "MissingDataError": 3,
    "AnnotationError": 3,
    "PictureError": 3,
    "PredictionsError": 3,
    "ModelError": 5,
    "ArchiveError": 6,
    "ResourceError": 7,
    "DownloadError": 7,
    "TrainingDiverged": 7,
}


def test_every_error_has_its_exit_code() -> None:
    assert {cls.__name__: cls.exit_code for cls in CLASSES} == CODES


def test_one_except_catches_all() -> None:
    assert all(issubclass(cls, FdpsError) for cls in CLASSES)


def test_message_and_hint() -> None:
    error = UsageError("--top 0: expected at least 1", hint="leave it out for 50")
    assert (str(error), error.hint) == ("--top 0: expected at least 1", "leave it out for 50")
    assert UsageError("enough said").hint == ""


def test_the_hint_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UsageError("what", hint="how")))
    assert (type(error), str(error), error.hint) == (UsageError, "what", "how")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_diverged_training_names_the_step_and_the_losses_that_left(bad: float) -> None:
    error = TrainingDiverged(7, {"person": 0.5, "box": bad, "reid": 2.0})
    assert str(error) == f"training diverged at step 7: box={bad}"
    assert error.step == 7
    assert "train.lr" in error.hint
