"""The sections of what is learnt from play: where experiences are kept, and when they are trained on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from supervisor.config.fields import DECIDES, SECRET, Fraction, Positive, Section, Whole


class ExperienceSettings(Section):
    url: SecretStr | None = Field(default=None, json_schema_extra=SECRET)
    """Where experiences are kept: sqlite:///path or postgresql://user@host/name; none is experiences.db in the run
    folder."""
    accept: bool = True
    """Whether the server takes experiences in."""
    max_body_kb: Positive = 8192
    """Of one request that brings experiences, unpacked; more is answered 413."""
    max_waiting_rows: Positive = 65536
    """Rows that wait to be stored; more are answered 503 until there is room."""
    commit_ms: Annotated[Whole, Field(ge=0)] = 50
    """Longest time that rows wait for others to be stored with them."""
    retention_days: Positive = 30
    """Rows that are older, and that every reader has read, are removed."""
    cold_days: Positive = 7
    """Rows that are older, and that every reader has read, move to Parquet files."""


class ContinuousSettings(Section):
    enabled: bool = True
    """Whether targets are trained on what was played, once the store has enough of it."""
    search: bool = True
    """Whether the search goes on between cycles; false waits for the next cycle."""
    check_interval_s: float = Field(default=300.0, gt=0.0)
    """Seconds between looks for new experiences. Each look is a cycle."""
    min_new_experiences: Positive = 1000
    """Of a target since its last lesson, without which a cycle leaves it out."""
    max_new_experiences: Positive = 262144
    """That a lesson is of: the newest, of those that the version in production has not learnt from."""
    experience_lookback_days: Positive = 7
    """Older experiences are not learnt from."""
    min_priority: float = Field(default=0.0, ge=0.0)
    """Experiences to which the game gave a lower priority are not learnt from."""
    archetype_balancing: bool = True
    """Whether the archetypes of a cycle take turns, and none learns from more new experiences than four times those of
    the one with the fewest."""
    batch_size: Positive = Field(default=256, json_schema_extra=DECIDES)
    """Experiences whose gradient is computed at once."""
    gradient_accumulation_steps: Positive = Field(default=4, json_schema_extra=DECIDES)
    """Batches whose gradients make one step."""
    max_steps_per_iteration: Positive = Field(default=1000, json_schema_extra=DECIDES)
    """Gradient steps of one training."""
    memory_rows: Annotated[Positive, Field(ge=1024)] = Field(default=65536, json_schema_extra=DECIDES)
    """Experiences, old ones and new, that a training draws its batches from."""
    checkpoint_frequency: Positive = 500
    """Gradient steps between resume points, besides those that are written every ten seconds."""
    validation_frequency: Positive = Field(default=1000, json_schema_extra=DECIDES)
    """Gradient steps between looks at the held-out experiences."""
    validation_samples: Positive = Field(default=1000, json_schema_extra=DECIDES)
    """Experiences of held-out episodes that are looked at."""
    holdout: Fraction = Field(default=0.1, json_schema_extra=DECIDES)
    """Share of the episodes that nothing is learnt from."""
    validate_before_deploy: bool = Field(default=True, json_schema_extra=DECIDES)
    """false leaves out the bounds on win rate, accuracy and the like; the technical guards and the paired test stay."""
    auto_deploy: bool = Field(default=True, json_schema_extra=DECIDES)
    """false: a proven winner waits for `incumbent promote`."""
    min_improvement: float = Field(default=0.01, ge=0.0, lt=1.0, json_schema_extra=DECIDES)
    """Gain in score per pair that a winner of a cycle must be proven to exceed."""

    @property
    def alone(self) -> bool:
        """Whether nothing is searched."""
        return self.enabled and not self.search
