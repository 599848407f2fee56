"""The calibration that an archive remembers."""

from fdps.errors import UsageError
from fdps.search.results.calibration import Calibration, from_json, to_json
from fdps.search.store import Notes, Store, check_model

_KEY = "calibration"


def kept_calibration(store: Store) -> Calibration | None:
    """How sure similarities are, as the archive remembers it; ``None`` if it does not.

    Raises:
        ModelError: What it remembers is malformed or of another model.
    """
    text = store.note(_KEY) if isinstance(store, Notes) else None
    if text is None:
        return None
    where = f"the archive of {store.info.model or 'this model'}"
    return from_json(text, where=where, model_hash=store.info.model_hash)


def keep_calibration(store: Store, calibration: Calibration) -> None:
    """Let an archive remember it.

    Raises:
        ArchiveError: It is the calibration of another model, another process writes, or the
            archive is read-only.
        UsageError: An archive of this kind cannot keep it.
    """
    check_model(store.info, calibration.model_hash, "the archive")
    if not isinstance(store, Notes):
        raise UsageError("an archive of this kind cannot keep a calibration")
    store.write_note(_KEY, to_json(calibration))
