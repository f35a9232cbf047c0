"""`config.yaml`: the best complete configuration of every target, as a settings file for a new run."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from supervisor.config.marks import scalar
from supervisor.config.settings import Settings
from supervisor.contract import Params, Version

HEADER = """\
# The best configuration of every target so far, written anew with each promotion: change a copy, not this file.
# Start a new run from it with: incumbent run --run-dir NEW_FOLDER --config THIS_FILE
"""
LINE_BREAKS = frozenset("\x85\u2028\u2029")  # outside double quotes YAML folds these into spaces or line ends


def best_config(
    incumbents: Mapping[str, Version], settings: Settings, adapted: Mapping[str, Params] | None = None
) -> bytes:
    """The file's bytes, a function of the values given here.

    `adapted` are the values of targets whose search space no longer admits the incumbent's own.

    Besides the targets' values it holds what they need to fit again: which are searched, the scale, and the folder of
    the user's search spaces.
    """
    run: dict[str, object] = {"scale": settings.run.scale, "targets": list(settings.run.targets)}
    if settings.run.search_spaces is not None:
        run["search_spaces"] = str(settings.run.search_spaces.absolute())
    other = adapted or {}
    params = {key: other.get(key, version.params) for key, version in sorted(incumbents.items())}
    targets = {key: {"params": dict(sorted(values.items()))} for key, values in params.items()}
    names = "".join(
        f"# {key}: {version.name}{', as far as the search space still admits its values' if key in other else ''}\n"
        for key, version in sorted(incumbents.items())
    )
    body = yaml.dump(
        {"run": run, "targets": targets},
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=1000,
    )
    return f"{HEADER}{names}{body}".encode()


class _Dumper(yaml.SafeDumper):
    """Quotes text that our reader, or YAML 1.1's, would take for something else; writes nothing as an alias."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    ambiguous = not isinstance(scalar(value), str) or not LINE_BREAKS.isdisjoint(value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if ambiguous else None)


_Dumper.add_representer(str, _text)
