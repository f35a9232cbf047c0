"""A no-op target whose opponent gets stronger with the level: a tenth of the games are lost for each."""

from __future__ import annotations

from supervisor.contract import Params, Version
from tests.support.noop import NoopPlayer, NoopTarget
from trainers.target import Built


class LevelledTarget(NoopTarget):
    """Wins 1.4 - level / 5 of its games at skill 1, .7 of that at skill 0."""

    def candidate(self, params: Params, built: Built) -> NoopPlayer:
        return self._player(params)

    def incumbent(self, version: Version) -> NoopPlayer:
        return self._player(version.params)

    def _player(self, params: Params) -> NoopPlayer:
        player = NoopPlayer(0.0)
        player._chance = (0.7 + 0.3 * float(params["skill"])) * (1.4 - self._spec.level / 5)
        return player
