"""JSON that shows whether it is as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.journal import sealed
from supervisor.journal.sealed import DamagedFileError

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
BODIES = st.dictionaries(st.text(max_size=8), VALUES | st.lists(VALUES, max_size=3), max_size=4).filter(
    lambda body: not {sealed.CHECKSUM_KEY, sealed.CHECK_KEY} & body.keys()
)


@given(BODIES)
def test_what_was_written_is_read_back(body):
    assert sealed.decode(sealed.encode(body), trusting=False) == body
    assert sealed.decode_line(sealed.encode_line(body)) == body


@given(BODIES, st.data())
def test_no_flipped_bit_changes_what_is_read(body, draw):
    for encode, decode, key in (
        (sealed.encode, sealed.decode, sealed.CHECKSUM_KEY),
        (sealed.encode_line, sealed.decode_line, sealed.CHECK_KEY),
    ):
        data = bytearray(encode(body))
        data[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
        try:
            found = decode(bytes(data))
        except DamagedFileError:
            continue
        # The key itself may be the one that was hit: then all the rest is as it was, and one key is unknown.
        strangers = found.keys() - body.keys()
        assert {name: value for name, value in found.items() if name not in strangers} == body
        assert len(strangers) <= (key.encode() not in data)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000])
def test_what_is_no_object_of_ours_is_damaged(data):
    with pytest.raises(DamagedFileError):
        sealed.decode(data, trusting=False)


def test_without_a_checksum_a_file_is_taken_on_trust_where_that_is_allowed():
    assert sealed.decode(b'{"a":1}') == {"a": 1}
    with pytest.raises(DamagedFileError):
        sealed.decode(b'{"a":1}', trusting=False)


def test_a_folder_in_the_place_of_a_file_is_damage(tmp_path):
    with pytest.raises(DamagedFileError, match="folder"):
        sealed.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        sealed.read(tmp_path / "none")


def test_only_whole_lines_are_kept_and_a_torn_one_is_no_damage(tmp_path):
    path = tmp_path / "lines"
    for number in range(4):
        sealed.append_line(path, {"number": number})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"1", b"9", 1) + b"garbage\n" + lines[3] + lines[2][:-5])
    found = sealed.read_lines(path, lambda line: line["number"])
    assert (found.whole, found.damaged, found.torn) == ((0, 3), (2, 3), True)
    sealed.drop_damaged_lines(path, dict)
    assert path.read_bytes() == lines[0] + lines[3]
    path.write_bytes(path.read_bytes() + b'{"half')
    sealed.append_line(path, {"number": 4})
    assert [line["number"] for line in sealed.read_lines(path, dict).whole] == [0, 3, 4]
