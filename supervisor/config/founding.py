"""Option names of the documents this program was founded on, accepted where the feature exists.

Sources: their `continuous_training:` section, `training:` and `models:` of training_config.yaml and model_params.yaml.
"""

from __future__ import annotations

from collections.abc import Callable

from supervisor.config.marks import Document, Keys
from supervisor.contract import Json

_COMBAT_DQN = ("targets", "*/combat_dqn", "params")


def _same(value: Json) -> Json:
    return value


def _sizes(value: Json) -> Json:
    return ",".join(map(str, value)) if isinstance(value, list) else value


TABLE: dict[tuple[str, ...], tuple[tuple[str, ...], Callable[[Json], Json]]] = {
    ("continuous_training", "enabled"): (("continuous", "enabled"), _same),
    ("continuous_training", "check_interval_seconds"): (("continuous", "check_interval_s"), _same),
    ("continuous_training", "training_interval_seconds"): (("continuous", "check_interval_s"), _same),
    ("continuous_training", "min_new_experiences"): (("continuous", "min_new_experiences"), _same),
    ("continuous_training", "experience_lookback_days"): (("continuous", "experience_lookback_days"), _same),
    ("continuous_training", "archetype_balancing"): (("continuous", "archetype_balancing"), _same),
    ("continuous_training", "batch_size"): (("continuous", "batch_size"), _same),
    ("continuous_training", "gradient_accumulation_steps"): (("continuous", "gradient_accumulation_steps"), _same),
    ("continuous_training", "max_steps_per_iteration"): (("continuous", "max_steps_per_iteration"), _same),
    ("continuous_training", "checkpoint_frequency"): (("continuous", "checkpoint_frequency"), _same),
    ("continuous_training", "validation_frequency"): (("continuous", "validation_frequency"), _same),
    ("continuous_training", "validation_samples"): (("continuous", "validation_samples"), _same),
    ("continuous_training", "validate_before_deploy"): (("continuous", "validate_before_deploy"), _same),
    ("continuous_training", "auto_deploy"): (("continuous", "auto_deploy"), _same),
    ("continuous_training", "min_improvement"): (("continuous", "min_improvement"), _same),
    ("continuous_training", "rollback_on_degradation"): (("watch", "rollback_on_degradation"), _same),
    ("continuous_training", "max_cpu_usage"): (("resources", "max_cpu_percent"), _same),
    ("continuous_training", "max_ram_gb"): (("resources", "max_ram_gb"), _same),
    ("continuous_training", "max_vram_usage"): (("resources", "max_vram_fraction"), _same),
    ("continuous_training", "pause_on_high_load"): (("resources", "pause_on_high_load"), _same),
    ("training", "batch_size"): ((*_COMBAT_DQN, "dqn.batch_size"), _same),
    ("training", "learning_rate"): ((*_COMBAT_DQN, "training.learning_rate"), _same),
    ("training", "gamma"): ((*_COMBAT_DQN, "dqn.gamma"), _same),
    ("training", "curriculum", "enabled"): (("curriculum", "enabled"), _same),
    ("training", "curriculum", "num_levels"): (("curriculum", "num_levels"), _same),
    ("training", "curriculum", "level_thresholds"): (("curriculum", "level_thresholds"), _same),
    ("models", "combat_dqn", "batch_size"): ((*_COMBAT_DQN, "dqn.batch_size"), _same),
    ("models", "combat_dqn", "learning_rate"): ((*_COMBAT_DQN, "training.learning_rate"), _same),
    ("models", "combat_dqn", "gamma"): ((*_COMBAT_DQN, "dqn.gamma"), _same),
    ("models", "combat_dqn", "dropout"): ((*_COMBAT_DQN, "dqn.dropout"), _same),
    ("models", "combat_dqn", "hidden_dims"): ((*_COMBAT_DQN, "dqn.hidden"), _sizes),
}


def translate(document: Document) -> None:
    """Move the founding documents' options of a settings file to the names they have here, marks included.

    Options without a counterpart stay where they are, and are refused with the other unknown keys.
    """
    for old, (new, convert) in TABLE.items():
        parent = _mapping(document.data, old[:-1])
        if parent is None or old[-1] not in parent:
            continue
        value = convert(parent.pop(old[-1]))
        marks = document.keys.pop(old), document.values.pop(old)
        _remove_if_empty(document, old[:-1])
        home = _mapping(document.data, new[:-1], create=True)
        if home is None:
            continue  # what stands there is no mapping: a mistake that is reported as such
        if new[-1] in home:
            document.problems.append(
                f"{document.path}:{marks[0].line}:{marks[0].column}: {'.'.join(old)}: means the same as"
                f" {'.'.join(new)}, which is given too; keep one of them"
            )
            continue
        home[new[-1]] = value
        document.keys[new], document.values[new] = marks
    for section in sorted({old[0] for old in TABLE} & set(document.data)):
        _refuse_rest(document, section)


def _mapping(data: dict[str, Json], keys: tuple[str, ...], *, create: bool = False) -> dict[str, Json] | None:
    for key in keys:
        if create and data.get(key) is None:
            data[key] = {}
        inner = data.get(key)
        if not isinstance(inner, dict):
            return None
        data = inner
    return data


def _refuse_rest(document: Document, section: str) -> None:
    """What is left in a founding section has no counterpart: one message for each key, at the key."""
    known = sorted(".".join(old[1:]) for old in TABLE if old[0] == section)
    rest = document.data.pop(section)
    for name in rest if isinstance(rest, dict) else []:
        document.problems.append(
            f"{document.at((section, name), key=True)}: {section}.{name}: nothing here answers to this option;"
            f" remove it (understood here: {', '.join(known)})"
        )
    if rest is not None and not isinstance(rest, dict):
        document.problems.append(f"{document.at((section,))}: {section}: not a mapping; write its options below it")


def _remove_if_empty(document: Document, keys: Keys) -> None:
    while keys:
        parent = _mapping(document.data, tuple(map(str, keys[:-1])))
        if parent is None or parent.get(str(keys[-1])) != {}:
            return
        del parent[str(keys[-1])]
        keys = keys[:-1]
