"""Our answers in the Open Inference Protocol against those that a real Triton gave, as recorded by
`tests.proofs.triton_conformance`; and that what compares them sees what there is to see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tritonclient.http")

from tests.support.oip_answers import Answer
from tests.support.oip_comparing import Known, compared, differences, stale
from tests.support.oip_conformance import Recorded, answers_of, marks
from tests.support.oip_known import TABLE
from tests.support.oip_sides import our_side

RECORDING = Path(__file__).with_name("triton_answers.json")
AGAIN = "record anew: python -m tests.proofs.triton_conformance --peers DIR --record"


@pytest.fixture(scope="module")
def triton() -> Recorded:
    return Recorded.read(RECORDING)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    with our_side(tmp_path_factory.mktemp("ours") / "run") as port:
        return answers_of(port)


def test_what_triton_was_asked_is_what_we_are_asked(triton: Recorded, ours: dict[str, Answer]) -> None:
    assert triton.asked == marks(), AGAIN
    assert list(triton.answers) == list(ours), AGAIN
    assert len(ours) > 200


def test_every_answer_is_tritons_or_differs_for_a_reason_that_is_given(
    triton: Recorded, ours: dict[str, Answer]
) -> None:
    found = [compared(name, own, ours[name], TABLE) for name, own in triton.answers.items()]
    assert [f"{each.name}: {difference}" for each in found for difference in each.unknown] == []
    assert stale(TABLE, found) == [], "called known, and no difference any more"


def test_what_is_recorded_is_read_back_as_it_was(triton: Recorded, tmp_path: Path) -> None:
    triton.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == RECORDING.read_bytes()


INFERRED: dict[str, Any] = {
    "model_name": "m",
    "model_version": "1",
    "outputs": [{"name": "q", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}],
}
GIVEN = Answer(200, "application/json", json=INFERRED)
WRONG = Answer(400, "application/json", json={"error": "no"})


def changed(**changes: Any) -> Answer:
    return replace(GIVEN, json={**INFERRED, **changes})


def output(**changes: Any) -> Answer:
    return changed(outputs=[{**INFERRED["outputs"][0], **changes}])


@pytest.mark.parametrize(
    ("triton", "ours", "difference"),
    [
        (GIVEN, WRONG, "status: 200 / 400"),
        (WRONG, replace(WRONG, status=404), "status: 400 / 404"),
        (GIVEN, Answer(0, text="ConnectionResetError"), "status: 200 / 0"),
        (GIVEN, replace(GIVEN, content_type="text/plain"), "content_type: application/json / text/plain"),
        (GIVEN, replace(GIVEN, head_length="right"), "head_length: - / right"),
        (GIVEN, replace(GIVEN, packing="gzip"), "packing: - / gzip"),
        (GIVEN, changed(id="7"), "json.id: - / 7"),
        (changed(id="7"), GIVEN, "json.id: 7 / -"),
        (GIVEN, changed(model_version="v000002"), "json.model_version: 1 / 2"),
        (GIVEN, changed(outputs=[]), "json.outputs.length: 1 / 0"),
        (GIVEN, output(name="x"), "json.outputs.0.name: q / x"),
        (GIVEN, output(shape=["1", 2]), "json.outputs.0.shape.0: 1 / 1"),
        (GIVEN, output(data=[1.0, 2.1]), "json.outputs.0.data.1: 2.0 / 2.1"),
        (GIVEN, output(data=[1.0, True]), "json.outputs.0.data.1: 2.0 / true"),
        (replace(GIVEN, binary={"q": [1.0]}), replace(GIVEN, binary={"q": [3.0]}), "binary.q.0: 1.0 / 3.0"),
        (WRONG, replace(WRONG, json={"error": {"message": "no"}}), 'json.error: no / {"message": "no"}'),
    ],
)
def test_a_difference_is_seen(triton: Answer, ours: Answer, difference: str) -> None:
    assert differences(triton, ours) == [difference]
    assert compared("x", triton, ours, TABLE[:1]).verdict == "DIFFERENT"


@pytest.mark.parametrize(
    ("triton", "ours"),
    [
        (GIVEN, GIVEN),
        (GIVEN, changed(model_version="v000001")),
        (GIVEN, output(data=[1, 2.0000001])),
        (WRONG, replace(WRONG, json={"error": "another sentence"})),
        (Answer(200, "text/plain"), Answer(200)),
        (Answer(200, json={"ns": 5}), Answer(200, json={"ns": 7})),
    ],
)
def test_what_may_differ_is_no_difference(triton: Answer, ours: Answer) -> None:
    assert compared("x", triton, ours, ()).verdict == "same"


def test_a_known_difference_is_known_in_its_exchange_alone_and_stale_once_it_is_gone() -> None:
    table = [Known("unknown *", "status: 200 / 400", "because")]
    met = compared("unknown model", GIVEN, WRONG, table)
    assert (met.verdict, stale(table, [met])) == ("known", [])
    assert compared("another", GIVEN, WRONG, table).verdict == "DIFFERENT"
    assert stale(table, [compared("unknown model", GIVEN, GIVEN, table)]) == table
