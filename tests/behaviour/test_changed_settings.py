"""Search space, seed and library versions changed between two starts: the run goes on, and says what changed."""

import json
from unittest import mock

import pytest
import yaml

from supervisor.commands import run as run_command
from supervisor.registry.active import ActiveFile
from supervisor.search.space import Parameter, Space
from supervisor.versions import library_versions
from tests.support import command_line
from tests.support.command_line import NoopFolder, call
from tests.support.small_run import comparable

KEY = "mage/noop"
SPACE = {
    "skill": {"type": "float", "default": 0.3, "low": 0.0, "high": 1.0},
    "rate": {"type": "float", "default": 1e-3, "low": 1e-5, "high": 1e-2, "log": True},
    "whole": {"type": "int", "default": 4, "low": 1, "high": 9},
    "style": {"type": "categorical", "default": "bold", "choices": ["bold", "calm"]},
}
DONE = 8  # iterations before anything is changed


def without(name):
    return {key: value for key, value in SPACE.items() if key != name}


def with_(name, **changes):
    return {**SPACE, name: {**SPACE.get(name, {}), **changes}}


class Folder(NoopFolder):
    """One target, whose search space can be written anew between starts."""

    @classmethod
    def make(cls, base, seed="seed: 7"):
        (base / "spaces").mkdir()
        config = base / "noop.yaml"
        config.write_text(
            f"run:\n  search_spaces: {base / 'spaces'}\n  targets: [{KEY}]\n  {seed}\nserving: {{port: 9}}\n"
        )
        made = cls(base / "run", config)
        made.write_space(SPACE)
        return made

    def write_space(self, space, **fields):
        target = {
            "target": KEY,
            "kind": "tests.support.noop:NoopTarget",
            "contenders": "screened",
            "parameters": space,
            **fields,
        }
        (self.config.parent / "spaces" / "mage.yaml").write_text(yaml.safe_dump(target))

    def go(self, iterations, *flags):
        answer = self.call_with_config("run", "--max-iterations", str(iterations), *flags)
        assert answer.code == 0, answer.err
        return answer.out

    def reasons(self, event):
        lines = (self.run_dir / "events.jsonl").read_text().splitlines()
        return [line["reason"] for line in map(json.loads, lines) if line["event"] == event]

    def incumbent(self):
        return ActiveFile.read(self.run_dir).targets[KEY]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = Folder.make(tmp_path_factory.mktemp("base"))
    folder.go(DONE)
    return folder


@pytest.fixture
def run(base, tmp_path):
    mine = Folder.make(tmp_path)
    base.copy(tmp_path)
    return mine


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (with_("rate", low=1e-6), "rate: range 1e-05..0.01 -> 1e-06..0.01"),
        (with_("rate", high=5e-3), "rate: range 1e-05..0.01 -> 1e-05..0.005"),
        (with_("whole", low=2, high=20), "whole: range 1..9 -> 2..20"),
        (with_("rate", log=False), "rate: log true -> none"),
        (with_("skill", step=0.1), "skill: step none -> 0.1"),
        (with_("skill", default=0.4), "skill: default 0.3 -> 0.4"),
        (
            with_("fresh", type="float", default=0.5, low=0.0, high=1.0),
            "fresh: is searched too (type float, range 0..1, default 0.5)",
        ),
        (without("whole"), "whole: is no longer searched"),
        (with_("style", choices=["bold", "wild"]), "style: choices bold, calm -> bold, wild"),
    ],
)
def test_a_changed_parameter_is_named_with_what_changed_and_applies_from_the_next_iteration(run, space, said):
    identity = json.loads((run.run_dir / "run.json").read_bytes())
    before = run.lines()
    run.write_space(space)
    out = run.go(DONE + 4)
    sentence = f"{KEY}: {said}; applies from the next iteration"
    assert run.reasons("settings_changed") == [sentence]
    assert f"settings_changed: {sentence}" in out
    after = json.loads((run.run_dir / "run.json").read_bytes())
    assert (after["run_id"], after["folder_id"]) == (identity["run_id"], identity["folder_id"])
    assert comparable(run.lines()[:DONE]) == comparable(before)
    admits = Space(tuple(parameter(name, spec) for name, spec in space.items()))
    for line in run.lines()[DONE:]:
        assert line.run_id == identity["run_id"]
        assert admits.problems(line.params) == []
    run.go(DONE + 4)
    assert len(run.reasons("settings_changed")) == 1


def parameter(name, spec):
    fields = {key: value for key, value in spec.items() if key not in ("type", "choices")}
    return Parameter(name, spec["type"], **fields, choices=tuple(spec.get("choices", ())))


def test_the_incumbent_stays_where_it_still_fits(run):
    before = run.incumbent()
    run.write_space(with_("rate", low=1e-6))
    run.go(DONE)
    assert run.incumbent() == before
    assert run.reasons("incumbent_outside_space") == []


@pytest.mark.parametrize(
    ("space", "name", "nearest"),
    [
        (with_("skill", high=0.2, default=0.1), "skill", 0.2),
        (with_("style", choices=["calm", "wild"], default="wild"), "style", "wild"),
    ],
)
def test_an_incumbent_outside_its_narrowed_space_serves_on_and_the_search_goes_on_beside_it(
    run, space, name, nearest, tmp_path
):
    before = run.incumbent()
    run.write_space(space)
    run.go(DONE + 1)
    [sentence] = run.reasons("incumbent_outside_space")
    value = json.dumps(before.params[name])
    assert sentence.startswith(f"{KEY}: {before.version} has {name} {value}, which its search space no longer admits")
    assert run.incumbent() == before
    line = run.lines()[DONE]
    assert line.against == before.version
    if name == "skill":  # theta was set to the place nearest to the incumbent
        assert line.search["spsa"]["theta"][name] == 1.0
        assert line.params[name] <= nearest
    else:
        assert line.params[name] in ("calm", "wild")
    config = run.run_dir / "config.yaml"
    assert yaml.safe_load(config.read_text())["targets"][KEY]["params"] == {**before.params, name: nearest}
    fresh = call("run", "--dry-run", "--run-dir", str(tmp_path / "fresh"), "--config", str(config))
    assert fresh.code == 0, fresh.err


class Killed(BaseException):
    """Stands for SIGKILL inside this process: nothing in between may catch it."""


def killed(folder):
    raise Killed


def test_the_trial_in_flight_keeps_its_proposal_when_the_space_changes(run, base, tmp_path):
    (tmp_path / "undisturbed").mkdir()
    undisturbed = Folder.make(tmp_path / "undisturbed")
    base.copy(tmp_path / "undisturbed")
    undisturbed.go(DONE + 1)
    with mock.patch.object(command_line, "work", killed), pytest.raises(Killed):
        run.go(DONE + 1)
    run.write_space(with_("skill", high=0.2, default=0.1))
    run.go(DONE + 3)
    assert comparable(run.lines()[: DONE + 1]) == comparable(undisturbed.lines())
    assert all(line.params["skill"] <= 0.2 for line in run.lines()[DONE + 1 :])


def test_a_space_that_is_changed_back_is_searched_whole_again(run):
    before = run.incumbent()
    run.write_space(with_("skill", high=0.2, default=0.1))
    run.go(DONE + 2)
    assert run.incumbent() == before
    run.write_space(SPACE)
    run.go(DONE + 4)
    assert len(run.reasons("settings_changed")) == 2
    assert any(line.params["skill"] > 0.2 for line in run.lines()[DONE + 2 :])


def test_a_folder_of_an_earlier_version_says_which_target_changed(run):
    path = run.run_dir / "run.json"
    known = json.loads(path.read_bytes())
    earlier = ("run_id", "seed", "window", "folder_id", "decides", "schema")
    path.write_text(json.dumps({name: known[name] for name in earlier}))
    run.go(DONE)
    assert run.reasons("settings_changed") == []
    path.write_text(json.dumps({name: known[name] for name in earlier}))
    run.write_space(with_("rate", low=1e-6))
    run.go(DONE)
    assert run.reasons("settings_changed") == [f"{KEY} has changed; applies from the next iteration"]


# the seed


@pytest.fixture
def seeded(tmp_path):
    """A folder whose configuration says nothing about the seed."""
    folder = Folder.make(tmp_path, seed="games: 30")
    folder.go(2, "--seed", "5")
    return folder


def seed_of(run):
    return run.call("status", "--json").json()["seed"]


def test_a_start_without_a_seed_keeps_the_folders(seeded, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    always = Folder.make(other, seed="games: 30")
    always.go(6, "--seed", "5")
    seeded.go(6)
    assert seeded.reasons("settings_changed") == []
    assert comparable(seeded.lines()) == comparable(always.lines())
    assert "seed 5" in seeded.call_with_config("run", "--dry-run").out


def test_a_seed_that_is_given_is_taken_and_said_once(seeded, monkeypatch):
    out = seeded.go(4, "--seed", "0")  # the default, but said
    assert "settings_changed: run.seed: 5 -> 0; applies from the next iteration" in out
    assert seed_of(seeded) == 0
    seeded.go(5)
    monkeypatch.setenv("INCUMBENT_RUN__SEED", "9")
    seeded.go(6)
    monkeypatch.delenv("INCUMBENT_RUN__SEED")
    seeded.go(7)
    assert [text.split(";")[0] for text in seeded.reasons("settings_changed")] == [
        "run.seed: 5 -> 0",
        "run.seed: 0 -> 9",
    ]
    assert len({line.run_id for line in seeded.lines()}) == 1
    assert seed_of(seeded) == 9


def test_a_changed_seed_changes_what_is_proposed_next_and_nothing_before(seeded, tmp_path):
    kept = Folder(seeded.copy(tmp_path / "kept").run_dir, seeded.config)
    kept.go(4)
    seeded.go(4, "--seed", "6")
    assert comparable(kept.lines()[:2]) == comparable(seeded.lines()[:2])
    assert kept.lines()[2].params == seeded.lines()[2].params  # the other half of a pair that was open
    assert kept.lines()[3].params != seeded.lines()[3].params


# library versions


def other_torch():
    return mock.patch.object(run_command, "library_versions", return_value={**library_versions(), "torch": "9.9.9"})


def test_another_torch_is_an_event_and_committed_lines_stay(run):
    before = run.lines()
    with other_torch():
        run.go(DONE + 1)
    torch = library_versions()["torch"]
    assert run.reasons("versions_changed") == [f"torch {torch} -> 9.9.9; lines committed before stay as they are"]
    assert comparable(run.lines()[:DONE]) == comparable(before)
    run.go(DONE + 1)
    assert len(run.reasons("versions_changed")) == 2  # and back


def test_training_begun_under_another_torch_starts_from_step_0(run):
    folder = run.run_dir / "trials" / f"{DONE + 1:06d}"

    def half_trained(path):
        (folder / "weights.pt").write_bytes(b"half trained")
        (folder / "progress.json").write_text('{"step":500}')
        raise Killed

    with mock.patch.object(command_line, "work", half_trained), pytest.raises(Killed):
        run.go(DONE + 1)
    found = []

    def looking(path):
        found.append(sorted(entry.name for entry in folder.iterdir()))
        return command_line.worker.main(path)

    with (
        other_torch(),
        mock.patch.object(command_line, "work", looking),
    ):
        run.go(DONE + 1)
    assert {"weights.pt", "progress.json"}.isdisjoint(found[0])
    [reason] = run.reasons("trial_restarted")
    assert f"starts from step 0 (torch {library_versions()['torch']} -> 9.9.9)" in reason
