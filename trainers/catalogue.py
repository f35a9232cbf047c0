"""The built-in model types by name; a file of `trainers/models/` each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import cast

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers.learner import ModelType

CATALOGUE: Mapping[str, str] = MappingProxyType(
    {
        "combat_dqn": "trainers.models.combat_dqn:CombatDqn",
        "movement_ppo": "trainers.models.movement_ppo:MovementPpo",
        "skill_dqn": "trainers.models.skill_dqn:SkillDqn",
        "threat_assessment": "trainers.models.threat_assessment:ThreatAssessment",
        "team_coordination": "trainers.models.team_coordination:TeamCoordination",
        "spatial_vit": "trainers.models.spatial_vit:SpatialVit",
        "temporal_transformer": "trainers.models.temporal_transformer:TemporalTransformer",
        "pattern_recognition": "trainers.models.pattern_recognition:PatternRecognition",
        "soft_actor_critic": "trainers.models.soft_actor_critic:SoftActorCritic",
    }
)


def model_type(name: str) -> ModelType:
    """Raises TrialError for a name the catalogue does not have."""
    if name not in CATALOGUE:
        raise TrialError(Reason.BUILD_FAILED, f"no built-in model type {name!r}; there are {', '.join(CATALOGUE)}")
    module, _, cls = CATALOGUE[name].partition(":")
    return cast(ModelType, getattr(import_module(module), cls)())
