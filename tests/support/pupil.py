"""Targets that cost nothing and learn from what was played: an experience of reward 1 makes them stronger."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.contract import Params, Version
from supervisor.experience.store import Position
from supervisor.journal import durable
from supervisor.search.target import TargetDefinition
from tests.support.noop import NoopPlayer, NoopTarget
from tests.support.small_run import definition
from trainers.played import Played
from trainers.target import Built, Control

TARGETS = ("aggressive/pupil", "mage/pupil")
WIDTH = 64
PER_ROW = 0.0002
"""Skill that a row of reward 1 adds."""


PATIENCE_S = 0.5
PLACE_NAME = "place.json"


@dataclass(frozen=True)
class Place:
    """Its resume point: after which row, and what was learnt up to there."""

    after: str = ""
    learnt: float = 0.0
    rows: int = 0
    pages: int = 0


class PupilTarget(NoopTarget):
    """Its skill stands in the model file: what it began with, and what each lesson added."""

    def __init__(self, spec, folder: Path, control: Control) -> None:
        super().__init__(spec, folder, control)
        self._folder = folder

    def build(self, params: Params, work: Path) -> Built:
        lesson, place = self._spec.lesson, Place()
        skill = float(params["skill"])
        if lesson is not None:
            place = self._place(Place(lesson.after))
            played = Played(lesson, self._run_dir, self._folder, self._control, PATIENCE_S)
            for page in played.pages(Position.parse(place.after)):
                learnt = place.learnt + PER_ROW * float(page.rows.rewards.sum())
                place = Place(str(page.last), learnt, place.rows + len(page.rows), place.pages + 1)
                durable.write_json(work / PLACE_NAME, vars(place))
                self.read_a_page()
            skill = self._skill(self._spec.start) + place.learnt
        built = super().build(params, work)
        assert built.model is not None
        durable.write_atomic(built.model, json.dumps({"skill": skill, "at": self._spec.iteration}).encode())
        return replace(built, metrics={"new_rows": float(place.rows), "pages": float(place.pages)})

    def _place(self, beginning: Place) -> Place:
        """Where an earlier process has come to."""
        path = self._folder / PLACE_NAME
        return Place(**json.loads(path.read_bytes())) if path.exists() else beginning

    def read_a_page(self) -> None:
        """For tests that disturb it there."""

    def candidate(self, params: Params, built: Built) -> NoopPlayer:
        assert built.model is not None
        return NoopPlayer(json.loads(built.model.read_bytes())["skill"])

    def incumbent(self, version: Version) -> NoopPlayer:
        return NoopPlayer(self._skill(version))

    @property
    def _run_dir(self) -> Path:
        return self._folder.parent.parent

    def _skill(self, version: Version | None) -> float:
        assert version is not None
        return float(json.loads((self._run_dir / "models" / f"{version.model_sha256}.onnx").read_bytes())["skill"])


def pupil(key: str, kind: str = "tests.support.pupil:PupilTarget", **changes: object) -> TargetDefinition:
    return replace(definition(key), kind=kind, from_play=True, **changes)


def pupils(**changes: object) -> dict[str, TargetDefinition]:
    return {key: pupil(key, **changes) for key in TARGETS}
