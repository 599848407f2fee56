import logging

import pytest

from fdps.data.findings import Findings
from fdps.errors import AnnotationError, UsageError


def test_the_first_fault_is_raised_by_default() -> None:
    findings = Findings()
    with pytest.raises(AnnotationError, match="row 3"), findings.tolerated():
        raise AnnotationError("row 3")
    assert findings.faults == []


def test_faults_are_kept_when_they_are_collected() -> None:
    findings = Findings(collect=True)
    for row in (3, 7):
        with findings.tolerated():
            raise AnnotationError(f"row {row}")
    assert [str(fault) for fault in findings.faults] == ["row 3", "row 7"]


def test_mistakes_of_the_user_are_never_kept() -> None:
    with pytest.raises(UsageError), Findings(collect=True).tolerated():
        raise UsageError("no such split")


def test_notes_are_summed_up_by_kind(caplog: pytest.LogCaptureFixture) -> None:
    findings = Findings()
    for what, where in (("cut", "a"), ("dropped", "b"), ("cut", "c")):
        findings.note(what, where, is_loss=what == "dropped")
    assert findings.summary() == ["2 × cut, first: a", "1 × dropped, first: b"]
    with caplog.at_level(logging.WARNING, logger="fdps.data"):
        findings.log("mine/test")
    assert caplog.messages == ["mine/test: 1 × dropped, first: b"]
