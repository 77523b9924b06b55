"""The table of the vendor's codes against the documents and the contract, both written here by hand."""

from pathlib import Path

import pytest

from sidecar.providers.xg.codes import CODES, REFUSED_TARGET_CODES, TARGET_ACCEPTED, UNDOCUMENTED, CodeClass

# S1 and S0, section "错误码": both list the same codes. 0 stands in their response examples.
DOCUMENTED = [
    10100, 10101, 10102, 10103, 10104, 10105, 10106, 10107, 10108, 10109,
    10110, 10111, 10112, 10113, 10114, 10115, 10116, 10117,
    10201, 10202, 10203, 10204, 10205, 10206, 10207,
    10301, 10302, 10303, 10304, 10305,
    10401, 10402, 10403, 10404, 10405, 10406, 10407,
    10501, 10502, 10503, 10504, 10505, 10506, 10507,
    10601, 10602, 10603, 10604, 10605, 10606,
    10701, 10702, 10707, 10708, 10709, 10710, 10711, 10712, 10713,
]  # fmt: skip

CLASSES = {
    CodeClass.ACCEPTED: [0],
    CodeClass.PARTIAL: [10302, 10304],
    CodeClass.VENDOR_REJECTED: [10102, 10103, 10106, 10107, 10115, 10117, 10202],
    CodeClass.CREDENTIALS_REFUSED: [10104],
    CodeClass.CERTIFICATE_INVALID: [10105],
    CodeClass.APP_NOT_REGISTERED: [10606],
    CodeClass.PUSH_TASK_EXPIRED: [10205],
    CodeClass.TARGET_UNKNOWN: [10110, 10116, 10303, 10305],
    CodeClass.VENDOR_BUSY: [10201, 10203],
    CodeClass.OUTCOME_UNKNOWN: [10100, 10101, 10206, 10207],
    CodeClass.VENDOR_INTERNAL: [
        10108, 10109, 10111, 10112, 10113, 10114, 10204, 10301,
        10401, 10402, 10403, 10404, 10405, 10406, 10407,
        10501, 10502, 10503, 10504, 10505, 10506, 10507,
        10601, 10602, 10603, 10604, 10605,
        10701, 10702, 10707, 10708, 10709, 10710, 10711, 10712, 10713,
    ],
}  # fmt: skip

# The vendor says "retry later" of these, and not whether anything went out; what follows from them is ours.
SAYS_RETRY_LATER = {
    *CLASSES[CodeClass.OUTCOME_UNKNOWN],
    *CLASSES[CodeClass.VENDOR_BUSY],
    *CLASSES[CodeClass.VENDOR_INTERNAL],
}

DOCS = Path(__file__).parents[3] / "docs" / "errors.md"


def test_every_documented_code_has_one_row_and_no_other_has_any() -> None:
    assert len(DOCUMENTED) == len(set(DOCUMENTED)) == 59
    assert list(CODES) == [0, *DOCUMENTED]
    assert all(row.code == code for code, row in CODES.items())


@pytest.mark.parametrize(
    ("code", "code_class"), [(code, code_class) for code_class, codes in CLASSES.items() for code in codes]
)
def test_code_has_the_class_of_the_contract(code: int, code_class: CodeClass) -> None:
    assert CODES[code].code_class is code_class


def test_every_class_has_a_code_and_every_code_a_class() -> None:
    # No documented code means that a quota is spent: the class is for operators who learn which one does.
    assert set(CLASSES) == set(CodeClass) - {CodeClass.QUOTA_EXCEEDED}
    assert sorted(code for codes in CLASSES.values() for code in codes) == [0, *DOCUMENTED]


@pytest.mark.parametrize("code", [0, *DOCUMENTED])
def test_row_names_meaning_source_and_what_is_ours(code: int) -> None:
    row = CODES[code]
    assert row.meaning
    assert "S1" in row.source
    assert "S0" in row.source
    assert bool(row.ours) is (code in SAYS_RETRY_LATER)


def test_code_that_no_document_names_is_outcome_unknown() -> None:
    assert UNDOCUMENTED.code_class is CodeClass.OUTCOME_UNKNOWN
    assert UNDOCUMENTED.ours
    assert UNDOCUMENTED.code not in CODES


def test_codes_of_targets() -> None:
    assert TARGET_ACCEPTED == 0
    assert {6, 48} == REFUSED_TARGET_CODES


def test_documentation_has_the_table_as_it_is() -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith(("| 0 |", "| 10"))]
    found = [[cell.strip() for cell in row] for row in rows]
    assert found == [[str(row.code), row.meaning, row.code_class.value, row.ours] for row in CODES.values()]
