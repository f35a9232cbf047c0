"""Bugs that a supervisor like this one can have, each a small edit of its text, and who is expected to notice."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.mutation import Edit

DURABLE = "supervisor.journal.durable"
COMMIT = "supervisor.committing:Committer.commit"
PROPOSE = "supervisor.loop:Supervisor._propose"
LEARNER = "trainers.algorithms.dqn:DoubleDQN"

CALLS, CALLS_ON = "system call: short", "system call: going on"
POWER = "power cut: * nothing but what was synced"
NAMES_FIRST = "power cut: * names before data"
WORLD = "fickle world"


@dataclass(frozen=True)
class Bug:
    """`noticed_by`: cells by name, or test files; the likeliest and cheapest first."""

    name: str
    edits: tuple[Edit, ...]
    noticed_by: tuple[str, ...]


def _bug(name: str, noticed_by: str | tuple[str, ...], *edits: tuple[str, str, str]) -> Bug:
    names = (noticed_by,) if isinstance(noticed_by, str) else noticed_by
    return Bug(name, tuple(Edit(*edit) for edit in edits), names)


OF_THE_DISK = (
    _bug(
        "fsync left out of append",
        (POWER, NAMES_FIRST),
        (f"{DURABLE}:append", '_fsync(descriptor, "fsync_append", path)', '_step("fsync_append", path)'),
    ),
    _bug(
        "fsync of the temporary file left out",
        (NAMES_FIRST, POWER),
        (
            f"{DURABLE}:write_atomic",
            '_fsync(descriptor, "fsync_temporary", temporary)',
            '_step("fsync_temporary", temporary)',
        ),
    ),
    _bug(
        "folder sync left out",
        (POWER, NAMES_FIRST),
        (f"{DURABLE}:sync_folder", '_fsync(descriptor, "fsync_folder", folder)', '_step("fsync_folder", folder)'),
    ),
    _bug(
        "rename before fsync",
        (NAMES_FIRST, POWER),
        (
            f"{DURABLE}:write_atomic",
            '            _fsync(descriptor, "fsync_temporary", temporary)\n',
            '            _step("rename", path)\n'
            "            os.rename(temporary, path)\n"
            '            _fsync(descriptor, "fsync_temporary", path)\n'
            "            return sync_folder(path.parent)\n",
        ),
    ),
    _bug(
        "checkpoint written without rename",
        (CALLS, NAMES_FIRST),
        (
            "supervisor.journal.checkpoint:save",
            "sealed.write(path, as_json(snapshot))",
            "path.write_bytes(sealed.encode(as_json(snapshot)))",
        ),
    ),
    _bug(
        "model stored without fsync and rename",
        (NAMES_FIRST, CALLS),
        (
            "supervisor.registry.store:ModelStore.put",
            "durable.write_atomic(target, data)",
            "target.write_bytes(data)",
        ),
    ),
    _bug(
        "torn tail of the log not cut",
        ("power cut: going on, names before data", "*torn*"),
        (
            "supervisor.journal.log:cut_torn_tail",
            "return durable.cut_torn_tail(run_dir / LOG_NAME)",
            "return 0",
        ),
    ),
)

OF_THE_ORDER = (
    _bug(
        "commit after config.yaml and active.json",
        (CALLS, CALLS_ON),
        (
            COMMIT,
            "    line = self._append(record)\n",
            "    from supervisor.state import fold\n"
            "    if record.version is not None:\n"
            "        self._parts.projections._publish(fold(self._memory.state, record), record.target)\n"
            "    line = self._append(record)\n",
        ),
    ),
    _bug(
        "commit before the model is stored",
        CALLS,
        (COMMIT, "    self._store(flight, verdict)\n", ""),
        (COMMIT, "    self._memory.add(line)\n", "    self._store(flight, verdict)\n    self._memory.add(line)\n"),
    ),
    _bug(
        "trial.json written after the launch",
        CALLS_ON,
        (
            PROPOSE,
            "self._patiently(partial(folder.create, spec))",
            "folder.path.mkdir(parents=True)",
        ),
        ("supervisor.flight:Flight.launch", "    self.folder.keep(self.spec)\n", ""),
        (
            "supervisor.flight:Flight.launch",
            "    self.handle = executor.submit(launch)\n",
            "    self.handle = executor.submit(launch)\n    self.folder.create(self.spec)\n",
        ),
    ),
    _bug(
        "request removed before it is a fact",
        CALLS_ON,
        (
            PROPOSE,
            "        folder = TrialFolder.of(self._parts.run_dir, iteration)\n",
            "        folder = TrialFolder.of(self._parts.run_dir, iteration)\n"
            "        if asked is not None:\n"
            "            self._intake.accepted(asked)\n",
        ),
    ),
    _bug(
        "lines committed in the order of their ends",
        WORLD,
        (
            "supervisor.loop:Supervisor._ready_to_commit",
            "self._flights.get(self._memory.state.iteration + 1)",
            "next((each for each in self._flights.values() if each.handle is None and each.stage_done), None)",
        ),
    ),
    _bug(
        "projections not brought up to date at the start",
        CALLS_ON,
        ("supervisor.projections:RunProjections.catch_up", "self._publish(state, changed=None)", "pass"),
    ),
)

OF_THE_MEMORY = (
    _bug(
        "sampler kept over proposals",
        CALLS_ON,
        (
            "supervisor.search.study:Studies.draw",
            "study.sampler = make(ask.recipe)",
            'study.sampler = vars(self).setdefault("_sampler", make(ask.recipe))',
        ),
    ),
    _bug(
        "trial seed from the clock",
        CALLS,
        (
            "supervisor.planning:_seeds",
            "derive_seed(run_seed, phase, target, iteration) for phase in OWN_PHASES",
            'derive_seed(__import__("time").time_ns(), phase, target, iteration) for phase in OWN_PHASES',
        ),
    ),
    _bug(
        "a proposal sees every line there is",
        WORLD,
        (
            "supervisor.memory:Memory.history_for",
            "while end > 0 and lines[end - 1].iteration > iteration - self.window:",
            "while False:",
        ),
    ),
    _bug(
        "exit of a trial not written down",
        WORLD,
        ("supervisor.flight:Flight.landed", 'self.folder.add_fact("exit", **fact)', "pass"),
    ),
    _bug(
        "snapshot's lines after its base forgotten",
        "tests/core/test_fold_property.py",
        ("supervisor.memory:Memory.snapshot", "self.states[0], tuple(self.tail)", "self.states[0], ()"),
    ),
    _bug(
        "lock's inode not checked",
        "tests/journal/test_run_lock.py",
        ("supervisor.journal.identity:RunLock.check", "if self._file_is_held():", "if True:"),
    ),
    _bug(
        "training's random numbers not saved",
        "tests/trainers/test_resume.py",
        (f"{LEARNER}.state", '"torch_rng": self.dice.get_state()', '"torch_rng": torch.Generator().get_state()'),
    ),
    _bug(
        "replay buffer not saved",
        "tests/trainers/test_resume.py",
        (f"{LEARNER}.load_state", 'self.replay.load_state(arrays(state["replay"]))', "pass"),
    ),
)

BUGS = (*OF_THE_DISK, *OF_THE_ORDER, *OF_THE_MEMORY)
TESTS = sorted({name for bug in BUGS for name in bug.noticed_by if name.startswith("tests/")})
HEALTHY = Bug("nothing", (), (CALLS, CALLS_ON, POWER, NAMES_FIRST, WORLD, *TESTS))
