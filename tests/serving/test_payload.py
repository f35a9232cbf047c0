"""Requests become arrays exactly, or are refused saying what is wrong and where."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.serving import payload
from supervisor.serving.asked import Sent
from supervisor.serving.errors import ApiError
from supervisor.serving.leash import Leash
from supervisor.serving.session import Session, build
from tests.support import onnx_models as models

MAX_ROWS = 4


@pytest.fixture(scope="module")
def session() -> Session:
    return build(models.mlp(), models.INTERFACE, MAX_ROWS, Leash())


@pytest.fixture(scope="module")
def half_session() -> Session:
    return build(models.mlp(kind=np.float16), models.INTERFACE, MAX_ROWS, Leash())


@pytest.fixture(scope="module")
def two_inputs() -> Session:
    data, interface = models.two_inputs()
    return build(data, interface, MAX_ROWS, Leash())


def refusal(body: bytes | str, session: Session) -> ApiError:
    with pytest.raises(ApiError) as caught:
        payload.decode(Sent(body.encode() if isinstance(body, str) else body), session, MAX_ROWS)
    assert caught.value.status == 400
    return caught.value


STATE = [0.25] * 64
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=25)
@given(rows=st.lists(st.lists(FLOATS | st.integers(-1000, 1000), min_size=64, max_size=64), min_size=1, max_size=4))
def test_numbers_arrive_exactly_as_they_were_sent(session: Session, rows: list[list[float]]) -> None:
    sent = payload.decode(Sent(json.dumps({"states": rows}).encode()), session, MAX_ROWS).inputs["state"]
    assert sent.dtype == np.float32
    assert sent.tolist() == rows


def test_one_state_is_one_row(session: Session) -> None:
    assert payload.decode(Sent(json.dumps({"state": STATE}).encode()), session, MAX_ROWS).inputs["state"].shape == (
        1,
        64,
    )


def test_inputs_are_given_by_name(two_inputs: Session) -> None:
    body = {"inputs": {"state": [[1, 2, 3]], "grid": [[[1, 2, 3], [4, 5, 6]]]}}
    arrays = payload.decode(Sent(json.dumps(body).encode()), two_inputs, MAX_ROWS).inputs
    assert arrays["grid"].shape == (1, 2, 3)
    assert two_inputs.run(arrays)["sum"].tolist() == [[6, 9, 12]]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("", "empty_body", "empty"),
        ("  \n ", "empty_body", "empty"),
        ("{", "broken_json", "not JSON"),
        (b"\xff\xfe\xfa", "broken_json", "not JSON"),
        ("[" * 200_000, "broken_json", "not JSON"),
        ('{"state":[' + "9" * 5000 + "]}", "not_finite", "too large"),
        ("[]", "wrong_type", "object"),
        ("null", "wrong_type", "object"),
        ("{}", "wrong_inputs", "exactly one"),
        ('{"state":[],"states":[]}', "wrong_inputs", "exactly one"),
        ('{"stat":[1]}', "unknown_field", "stat"),
        ('{"state":[1],"mode":"fast"}', "unknown_field", "mode"),
        ({"state": STATE[1:]}, "wrong_shape", "63 values, expected 64"),
        ({"state": [*STATE, 1]}, "wrong_shape", "65 values, expected 64"),
        ({"state": [STATE]}, "wrong_shape", "1 values, expected 64"),
        ({"state": 7}, "wrong_shape", "a number"),
        ({"state": "abc"}, "wrong_shape", "text"),
        ({"state": None}, "wrong_shape", "null"),
        ({"state": {"0": 1}}, "wrong_shape", "an object"),
        ({"states": []}, "wrong_shape", "at least one row"),
        ({"states": {}}, "wrong_shape", "at least one row"),
        ({"states": [STATE] * 5}, "too_many_rows", "at most 4"),
        ({"states": [STATE, STATE[1:]]}, "wrong_shape", r"states[1]: 63"),
        ({"state": [*STATE[1:], "0.5"]}, "not_a_number", "state[63]: text"),
        ({"state": [True, *STATE[1:]]}, "not_a_number", "state[0]: true or false"),
        ({"state": [None, *STATE[1:]]}, "not_a_number", "state[0]: null"),
        ({"state": [[0.5], *STATE[1:]]}, "not_a_number", "state[0]: a list"),
        ({"state": [float("nan"), *STATE[1:]]}, "not_finite", "NaN"),
        ({"state": [float("-inf"), *STATE[1:]]}, "not_finite", "-Infinity"),
        ('{"state":[1e999' + ",0" * 63 + "]}", "not_finite", "too large"),
        ({"state": [1e39, *STATE[1:]]}, "not_finite", "too large for float32"),
        ({"state": [10**400, *STATE[1:]]}, "not_finite", "too large"),
        ({"inputs": {"other": [STATE]}}, "wrong_inputs", "['state']"),
        ({"inputs": [STATE]}, "wrong_inputs", "['state']"),
    ],
)
def test_what_is_not_a_request_is_refused(session: Session, body: object, code: str, words: str) -> None:
    error = refusal(body if isinstance(body, str | bytes) else json.dumps(body), session)
    assert error.code == code
    assert words in error.message
    assert len(error.message) < 400


def test_a_number_too_large_for_half_precision_is_refused(half_session: Session) -> None:
    assert refusal(json.dumps({"state": [70000, *STATE[1:]]}), half_session).code == "not_finite"


def test_several_inputs_must_be_named_and_equally_long(two_inputs: Session) -> None:
    assert "inputs" in refusal('{"state":[1,2,3]}', two_inputs).message
    body = {"inputs": {"state": [[1, 2, 3]] * 2, "grid": [[[1, 2, 3], [4, 5, 6]]]}}
    assert "same number of rows" in refusal(json.dumps(body), two_inputs).message
    body = {"inputs": {"state": [[1, 2, 3]], "grid": [[[1, 2, 3], [4, 5]]]}}
    assert "inputs.grid[0][1]: 2 values" in refusal(json.dumps(body), two_inputs).message


@settings(max_examples=60)
@given(
    body=st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.from_regex(r"\{\"states?\":.*\}").map(str.encode)
)
def test_any_other_bytes_are_refused_in_the_same_way(session: Session, body: bytes) -> None:
    refusal(body, session)


def test_an_answer_names_version_outputs_and_the_best_action() -> None:
    outputs = {"q_values": np.array([[1, 3, 2], [9, 0, 0]], np.float32)}
    expected = {"version": "v000042", "outputs": {"q_values": [[1, 3, 2], [9, 0, 0]]}, "actions": [1, 0]}
    assert json.loads(payload.write("v000042", outputs).body) == expected


@pytest.mark.parametrize("name", ["q_values", "direction_logits", "probabilities"])
def test_of_several_outputs_the_one_that_values_choices_says_what_to_do(name: str) -> None:
    outputs = {"value": np.zeros((2, 1), np.float32), name: np.array([[0, 5, 1], [2, 0, 2]], np.float32)}
    assert json.loads(payload.write("v000001", outputs).body)["actions"] == [1, 0]


def test_a_continuous_action_is_given_as_its_numbers() -> None:
    outputs = {"action": np.array([[0.5, -1.0]], np.float32), "value": np.zeros((1, 1), np.float32)}
    assert json.loads(payload.write("v000001", outputs).body)["actions"] == [[0.5, -1.0]]


def test_several_outputs_that_value_nothing_are_no_action() -> None:
    outputs = {"mean": np.zeros((1, 3), np.float32), "spread": np.zeros((1, 3), np.float32)}
    assert json.loads(payload.write("v000001", outputs).body)["actions"] is None


@pytest.mark.parametrize(
    ("body", "version"), [(b"", None), (b" ", None), (b"{}", None), (b'{"version":"v000042"}', "v000042")]
)
def test_a_reload_may_name_a_version(body: bytes, version: str | None) -> None:
    assert payload.decode_order(body, "version").get("version") == version


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"version":42}', b'{"path":"/tmp/model.onnx"}'])
def test_a_reload_takes_nothing_else(body: bytes) -> None:
    with pytest.raises(ApiError):
        payload.decode_order(body, "version")
