"""What decides about a trial is fixed when it is proposed: settings changed later apply from the next iteration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.config.continuous import ContinuousSettings
from supervisor.config.settings import CurriculumSettings, PromotionSettings, Settings
from supervisor.contract import Json
from supervisor.lesson import CONTINUOUS
from supervisor.promotion import contenders
from supervisor.search.target import TargetDefinition

THRESHOLDS = ("min_win_rate", "min_accuracy", "min_reward", "min_entropy_bits", "min_explained_variance")

CHEAP_MEASURE_PAIRS = 2000  # where games cost next to nothing (DESIGN 8)


@dataclass(frozen=True)
class Rules:
    """The promotion and curriculum sections as they were, who earns a test, how many pairs measure a winner."""

    promotion: PromotionSettings
    contenders: str  # screened | confirmed
    measure_pairs: int
    curriculum: CurriculumSettings = CurriculumSettings()
    levels: int = 1  # how many the opponent has
    continuous: ContinuousSettings = ContinuousSettings()  # how a lesson is learnt

    @classmethod
    def of(cls, settings: Settings, definition: TargetDefinition, sampler: str) -> Rules:
        promotion = _of_a_lesson(settings) if sampler == CONTINUOUS else settings.promotion
        yields_model = definition.contenders == contenders.SCREENED
        pairs = promotion.measure_pairs
        return cls(
            promotion=promotion,
            contenders=contenders.policy_for(promotion.contenders, sampler, yields_model),
            measure_pairs=max(pairs, CHEAP_MEASURE_PAIRS) if definition.games_cheap else pairs,
            curriculum=settings.curriculum,
            levels=definition.levels,
            continuous=settings.continuous,
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Json]) -> Rules:
        """Back from `trial.json`. Raises ValueError for what this program did not write."""
        return cls(
            promotion=PromotionSettings.model_validate(body["promotion"]),
            contenders=str(body["contenders"]),
            measure_pairs=int(str(body["measure_pairs"])),
            curriculum=CurriculumSettings.model_validate(body.get("curriculum", {})),
            levels=int(str(body.get("levels", 1))),
            continuous=ContinuousSettings.model_validate(body.get("continuous", {})),
        )

    def as_json(self) -> dict[str, Json]:
        return {
            "promotion": self.promotion.model_dump(mode="json"),
            "contenders": self.contenders,
            "measure_pairs": self.measure_pairs,
            "curriculum": self.curriculum.model_dump(mode="json"),
            "levels": self.levels,
            "continuous": self.continuous.model_dump(mode="json"),
        }


def _of_a_lesson(settings: Settings) -> PromotionSettings:
    """What a winner of the continuous cycle is held to."""
    promotion, continuous = settings.promotion, settings.continuous
    bounds = dict.fromkeys(THRESHOLDS) if not continuous.validate_before_deploy else {}
    return promotion.model_copy(
        update={
            "min_improvement": continuous.min_improvement,
            "mode": promotion.mode if continuous.auto_deploy else "manual",
            "guards": promotion.guards.model_copy(update=bounds),
        }
    )
