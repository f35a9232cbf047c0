"""Makes the fork server see a trial's end and the end of its output in one look, the trial's end first."""

import selectors
import time

GATHER_S = 0.02

_select = selectors.DefaultSelector.select


def _reordered(self: selectors.BaseSelector, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
    _select(self, timeout)
    time.sleep(GATHER_S)  # whatever follows the first event belongs to the same look
    return sorted(_select(self, 0), key=lambda pair: pair[0].data is not None)


selectors.DefaultSelector.select = _reordered
