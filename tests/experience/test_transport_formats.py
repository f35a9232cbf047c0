"""Every format: what is exported comes back bit for bit, and what is no such file is refused with the cure."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import gymnasium.spaces
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from supervisor.experience.rows import Experiences
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import Parcel, Selection
from supervisor.experience.transport.exporting import exported, path_of
from supervisor.experience.transport.files import FORMATS, open_source, open_writer
from supervisor.experience.transport.importing import checked, imported
from supervisor.experience.transport.source import CHUNK_ROWS
from tests.support.experiences import NOON_US, TARGET, experiences, read, same, together, write

EXACT = ("parquet", "arrow", "npz")
REAL = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def steps(draw, max_rows=30):
    """Any experiences there can be."""
    count, width = draw(st.integers(1, max_rows)), draw(st.integers(1, 5))
    controls = draw(st.integers(0, 2))

    def column(kind, elements):
        return draw(arrays(kind, count, elements=elements))

    def matrix(columns):
        return draw(arrays(np.float32, (count, columns), elements=REAL))

    return Experiences(
        states=matrix(width),
        actions=column(np.int32, st.integers(0, 2**31 - 2)),
        controls=matrix(controls),
        rewards=column(np.float32, REAL),
        next_states=matrix(width),
        done=column(np.bool_, st.booleans()),
        priorities=column(np.float32, st.floats(2**-20, 2**20, width=32)),
        episodes=column(np.int64, st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)),
        steps=column(np.int32, st.integers(0, 3) | st.integers(0, 2**31 - 1)),
        versions=column(np.int32, st.integers(0, 2**31 - 1)),
        times=column(np.int64, st.integers(0, 2**62)),
    )


def there_and_back(base: Path, kind: str, rows: Experiences) -> tuple[Experiences, Experiences]:
    """Out of a store and into another one: what the first one holds (SQLite knows no -0.0) and what the second one."""
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    here, there = SqliteStore(base / "here.db"), SqliteStore(base / "there.db")
    write(here, rows)
    path = path_of(base / "out", TARGET, kind)
    assert exported(here, Selection(TARGET), kind, path) == len(rows)
    file, mistakes = checked(path, None, NOON_US, quarantine=False)
    assert mistakes == []
    assert imported(there, file, NOON_US).rows == len(rows)
    held, found = together(read(here)), together(read(there))
    here.close()
    there.close()
    return held, found


def by_reward(rows: Experiences) -> Experiences:
    return rows.where(np.argsort(rows.rewards, kind="stable"))


@pytest.mark.parametrize("kind", EXACT)
@settings(max_examples=25, deadline=None)
@given(rows=steps())
def test_what_is_exported_comes_back_bit_for_bit(tmp_path_factory, kind, rows):
    assert same(*there_and_back(tmp_path_factory.getbasetemp() / f"rows_{kind}", kind, rows))


@settings(max_examples=15, deadline=None)
@given(rows=steps(max_rows=12))
def test_a_minari_dataset_brings_back_every_bit_in_an_order_of_its_own(tmp_path_factory, rows):
    rows = Experiences(**{**vars(rows), "rewards": np.arange(len(rows), dtype=np.float32)})
    held, found = there_and_back(tmp_path_factory.getbasetemp() / "rows_minari", "minari", rows)
    assert same(by_reward(found), held)


@pytest.mark.parametrize("kind", EXACT)
def test_files_of_many_chunks_come_back_too(tmp_path, kind):
    rows = experiences(3 * CHUNK_ROWS + 17)
    assert same(there_and_back(tmp_path / "many", kind, rows)[1], rows)


def episodes(count: int, length: int, width: int = 4) -> Experiences:
    """Played two at a time, their steps in turn; every second one was cut."""
    rng = np.random.default_rng(1)
    seen = rng.normal(size=(count, length + 1, width)).astype(np.float32)
    order = [(2 * pair + one, step) for pair in range(count // 2) for step in range(length) for one in range(2)]
    return Experiences.of(
        [seen[episode, step] for episode, step in order],
        [step % 3 for _, step in order],
        np.arange(len(order)),
        [seen[episode, step + 1] for episode, step in order],
        [step == length - 1 and episode % 2 == 0 for episode, step in order],
        time_us=NOON_US,
        episodes=[100 + episode for episode, _ in order],
        steps=[step for _, step in order],
    )


def test_minari_itself_reads_an_export_as_the_episodes_that_were_played(tmp_path, monkeypatch):
    import minari

    rows = episodes(6, 7)
    there_and_back(tmp_path / "x", "minari", rows)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "x" / "out"))
    dataset = minari.load_dataset(f"{TARGET}-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (6, 42)
    for episode in dataset:
        own = rows.where(rows.episodes == episode.infos["episodes"][1])
        assert np.array_equal(episode.observations, np.concatenate([own.states, own.next_states[-1:]]))
        assert np.array_equal(episode.rewards, own.rewards)
        assert np.array_equal(episode.terminations, own.done)
        assert episode.truncations[-1] != own.done[-1]


@pytest.mark.parametrize("storage", ["hdf5", "arrow"])
def test_a_dataset_that_minari_wrote_is_read_a_cut_episode_goes_on(tmp_path, storage):
    folder = tmp_path / "data"
    seen, acted = gymnasium.spaces.Box(-9, 9, (2, 3)), gymnasium.spaces.Discrete(4)
    storage = MinariStorage.new(folder, seen, acted, data_format=storage)
    observations = np.arange(24, dtype=np.float32).reshape(4, 2, 3) / 9
    storage.update_episodes(
        [
            EpisodeBuffer(
                observations=observations,
                actions=[1, 2, 3],
                rewards=[0.5, -1.0, 2.0],
                terminations=[False, False, ended],
                truncations=[False, False, not ended],
            )
            for ended in (True, False)
        ]
    )
    file, mistakes = checked(tmp_path, TARGET, NOON_US, quarantine=False)
    assert mistakes == []
    first, second = file.source.blocks(NOON_US)
    assert np.array_equal(first.states, observations.reshape(4, 6)[:-1])
    assert np.array_equal(first.next_states, observations.reshape(4, 6)[1:])
    assert (first.actions.tolist(), first.rewards.tolist()) == ([1, 2, 3], [0.5, -1.0, 2.0])
    assert (first.done.tolist(), second.done.tolist()) == ([False, False, True], [False] * 3)
    assert first.steps.tolist() == [0, 1, 2]
    assert first.episodes[0] != second.episodes[0]


def test_a_dataset_that_names_an_environment_in_place_of_its_spaces_runs_nothing(tmp_path):
    metadata = {"data_format": "hdf5", "env_spec": '{"id": "x-v0", "entry_point": "antigravity:x"}'}
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    _, [mistake] = checked(tmp_path, TARGET, NOON_US, quarantine=False)
    assert "does not say observation_space and action_space" in mistake


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def arrays_of(rows: Experiences) -> dict[str, np.ndarray]:
    return {**vars(rows), "target": np.array(TARGET)}


def test_objects_in_an_npz_are_refused_and_never_unpickled(tmp_path):
    path, trap = tmp_path / "x.npz", tmp_path / "sprung"
    objects = np.array([Harmful(trap)] * 3, object)
    np.savez(path, **{**arrays_of(experiences(3)), "actions": objects, "target": objects})
    _, mistakes = checked(path, None, NOON_US, quarantine=False)
    assert any("actions is object" in mistake and "whole numbers" in mistake for mistake in mistakes)
    assert not trap.exists()


def table(rows: Experiences) -> pa.Table:
    return pa.table({name: list(v) if v.ndim == 2 else v for name, v in vars(rows).items() if v.ndim == 1 or v.size})


def test_tables_of_other_programs_are_read_with_lists_of_any_kind(tmp_path):
    rows = experiences(20)
    loose = table(rows)
    fixed = loose.set_column(
        0, "states", pa.FixedSizeListArray.from_arrays(pa.array(rows.states.reshape(-1)), rows.width)
    )
    large = loose.set_column(0, "states", loose["states"].cast(pa.large_list(pa.float32())))
    zoned = loose.set_column(
        loose.schema.get_field_index("times"), "times", loose["times"].cast(pa.timestamp("us")).cast(pa.timestamp("ns"))
    )
    for number, given_ in enumerate((loose, fixed, large, zoned)):
        pq.write_table(given_, tmp_path / f"{number}.parquet")
        file, mistakes = checked(tmp_path / f"{number}.parquet", TARGET, NOON_US, quarantine=False)
        assert mistakes == []
        [found] = file.source.blocks(NOON_US)
        assert same(found, rows)


def test_an_arrow_stream_is_read_as_a_file_is(tmp_path):
    rows = experiences(50)
    with pa.ipc.new_stream(tmp_path / "x", table(rows).schema) as stream:
        stream.write_table(table(rows), max_chunksize=7)
    file, mistakes = checked(tmp_path / "x", TARGET, NOON_US, quarantine=False)
    assert mistakes == []
    assert sum(map(len, file.source.blocks(NOON_US))) == 50


@pytest.mark.parametrize("kind", [*EXACT, "arrow_stream"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, kind):
    rows, path = experiences(300), tmp_path / "whole"
    if kind == "arrow_stream":
        with pa.ipc.new_stream(path, table(rows).schema) as stream:
            stream.write_table(table(rows))
    else:
        there_and_back(tmp_path / "x", kind, rows)
        shutil.copy(path_of(tmp_path / "x" / "out", TARGET, kind), path)
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.99):
        (tmp_path / "cut").write_bytes(data[: int(share * len(data))])
        file, mistakes = checked(tmp_path / "cut", TARGET, NOON_US, quarantine=False)
        assert file is None
        assert all(str(tmp_path / "cut") in mistake and ";" in mistake for mistake in mistakes)


def test_an_array_that_ends_before_its_last_row_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, **arrays_of(experiences(300)))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["rewards.npy"] = members["rewards.npy"][:-40]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    _, [mistake] = checked(path, None, NOON_US, quarantine=False)
    assert "the array rewards ends before its last row" in mistake


def test_rows_of_several_widths_go_to_formats_that_can_hold_them(tmp_path):
    store = SqliteStore(tmp_path / "x.db")
    store.write([Parcel([(TARGET, experiences(5)), (TARGET, experiences(5, width=3))])])
    from supervisor.errors import UsageError

    for kind in FORMATS:
        with pytest.raises(UsageError, match="--width"):
            exported(store, Selection(TARGET), kind, path_of(tmp_path, TARGET, kind))
        assert exported(store, Selection(TARGET, width=3), kind, path_of(tmp_path, TARGET, kind)) == 5
    store.close()


def test_a_column_too_large_for_its_type_is_no_experience(tmp_path):
    rows = experiences(3)
    np.savez(tmp_path / "x.npz", **{**arrays_of(rows), "actions": np.array([1, 2**31, -4])})
    _, mistakes = checked(tmp_path / "x.npz", None, NOON_US, quarantine=False)
    assert [mistake.split(": ")[1] for mistake in mistakes] == ["row 1", "row 2"]


def test_the_magic_of_a_file_decides_and_not_its_name(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays_of(experiences(3)))
    (tmp_path / "x.parquet").write_bytes(buffer.getvalue())
    assert checked(tmp_path / "x.parquet", None, NOON_US, quarantine=False)[1] == []
    (tmp_path / "y.npz").write_text("states,actions\n1,2\n")
    _, [mistake] = checked(tmp_path / "y.npz", None, NOON_US, quarantine=False)
    assert "neither Parquet nor Arrow IPC nor NPZ" in mistake


def test_a_nan_and_a_negative_zero_keep_their_bits_in_a_cold_file(tmp_path):
    odd = np.array([0x7FC00000, 0x7FC00001, 0xFFC00002, 0x80000000, 0x00000000], np.uint32).view(np.float32)
    rows = experiences(len(odd), width=len(odd))
    rows = Experiences(**{**vars(rows), "states": np.stack([odd] * len(odd)), "rewards": odd})
    writer = open_writer("parquet", tmp_path / "x", TARGET)
    writer.write(rows)
    writer.close()
    [found] = open_source(tmp_path / "x").blocks(NOON_US)
    assert same(found, rows)
