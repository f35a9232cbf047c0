"""What the simulation's cells add up to: tables for people, and whether the promises held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.stats import beta

from supervisor.config.settings import PromotionSettings

Cells = Mapping[str, Mapping[str, list[float]]]
Row = tuple[str, str, str]  # correlation, world, pipeline

OURS = ("per_try", "fdr")
MAIN_CORRELATION = "0.3"
LARGEST_FALSE_SHARE = 0.05
LARGEST_BIAS = 0.01
WANTED_EFFECT, WANTED_POWER, WANTED_GAMES = "0.05", 0.95, 2000
DEAREST_FDR = 0.01  # true strength that fdr may cost and still be the default


def rows(cells: Cells) -> dict[Row, dict[str, np.ndarray]]:
    """Columns over all runs of a row, blocks joined."""
    found: dict[Row, dict[str, list[float]]] = {}
    for key in sorted(cells):
        kind, correlation, *rest = key.split("/")
        if kind == "runs":
            columns = found.setdefault((correlation, rest[0], rest[1].replace("-", "/")), {})
            for name, values in cells[key].items():
                columns.setdefault(name, []).extend(values)
    return {row: {name: np.array(values) for name, values in columns.items()} for row, columns in found.items()}


def tables(cells: Cells) -> str:
    """Every row there is."""
    return "\n\n".join(part for part in (_single_tests(cells), _runs(rows(cells))) if part)


def _single_tests(cells: Cells) -> str:
    lines = []
    for key, cell in cells.items():
        kind, correlation, *rest = key.split("/")
        if kind == "test":
            share = cell["promoted"][0] / cell["tests"][0]
            lines.append(f"{correlation:>11} {float(rest[0]):>+7.2f} {share:>9.4f} {cell['games'][0]:>7.0f}")
    head = f"One paired test against 47 %\n{'correlation':>11} {'effect':>7} {'promoted':>9} {'games':>7}"
    return "\n".join([head, *lines]) if lines else ""


HEADINGS = ("corr", "world", "rule", "false/try", "false/promo", "promo/run", "games/promo", "bias", "+-", "end", "+-")
WIDTHS = (4, 8, 9, 9, 11, 9, 11, 6, 4, 6, 4)


def _runs(found: Mapping[Row, Mapping[str, np.ndarray]]) -> str:
    """False: promoted though truly no better. Points are of win rate; +- is two standard errors over the runs."""
    if not found:
        return ""
    lines = ["The whole pipeline (bias of best_win_rate averaged over time, and true strength at the end, in points)"]
    lines.append(_line(HEADINGS))
    for (correlation, world, rule), columns in found.items():
        false, promotions = columns["false"].sum(), columns["promotions"].sum()
        lines.append(
            _line(
                (
                    correlation,
                    world,
                    rule,
                    _ratio(false, columns["no_better"].sum(), 4),
                    _ratio(false, promotions, 3),
                    f"{columns['promotions'].mean():.2f}",
                    _ratio(columns["games"].sum(), promotions, 0),
                    f"{100 * columns['bias'].mean():+.2f}",
                    f"{200 * _error(columns['bias']):.2f}",
                    f"{100 * columns['end'].mean():.2f}",
                    f"{200 * _error(columns['end']):.2f}",
                )
            )
        )
    return "\n".join(lines)


def _line(fields: Iterable[str]) -> str:
    return "  ".join(f"{field:>{width}}" for field, width in zip(fields, WIDTHS, strict=True))


def _ratio(part: float, whole: float, digits: int) -> str:
    return f"{part / whole:.{digits}f}" if whole else "-"


def _error(values: np.ndarray) -> float:
    """Standard error of the mean over independent runs."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def promises(cells: Cells) -> list[tuple[bool, str]]:
    """(held, what was promised and what came out) of every promise; the cells must be complete."""
    found = rows(cells)
    return [
        *_few_false(cells, found),
        _power(cells),
        *_unbiased(found),
        *_worse_documents(found),
        _default(found),
    ]


def _few_false(cells: Cells, found: Mapping[Row, Mapping[str, np.ndarray]]) -> list[tuple[bool, str]]:
    results = []
    for correlation in sorted({row[0] for row in found}):
        columns = found[correlation, "equal", "per_try"]
        false, tries, tests = columns["false"], columns["no_better"].sum(), columns["tests"].sum()
        per_1000 = 1000 * false / columns["no_better"]
        upper = float(beta.ppf(0.975, false.sum() + 1, tests - false.sum()))
        text = (
            f"correlation {correlation}: of 1000 equal candidates {per_1000.mean():.1f} are promoted"
            f" ({per_1000.max():.0f} in the worst of {len(false)} runs): {100 * false.sum() / tries:.2f} % of tries,"
            f" {100 * false.sum() / tests:.2f} % of tests (97.5 % bound {100 * upper:.2f} %); at most 5 %"
        )
        held = per_1000.max() <= 1000 * LARGEST_FALSE_SHARE and upper <= LARGEST_FALSE_SHARE
        results.append((bool(held), text))
    return results


def _power(cells: Cells) -> tuple[bool, str]:
    cell = cells[f"test/{MAIN_CORRELATION}/{WANTED_EFFECT}"]
    power, games = cell["promoted"][0] / cell["tests"][0], cell["games"][0]
    text = (
        f"+5 points at correlation {MAIN_CORRELATION} are promoted with probability {power:.3f}, at least"
        f" {WANTED_POWER}, in {games:.0f} games on average, at most {WANTED_GAMES}"
    )
    return power >= WANTED_POWER and games <= WANTED_GAMES, text


def _unbiased(found: Mapping[Row, Mapping[str, np.ndarray]]) -> list[tuple[bool, str]]:
    ours = {row: columns["bias"] for row, columns in found.items() if row[2] in OURS}
    worst = max(ours, key=lambda row: abs(ours[row].mean()))
    text = (
        f"best_win_rate is off by {100 * ours[worst].mean():+.2f} +- {200 * _error(ours[worst]):.2f} points over time"
        f" in the worst of {len(ours)} rows ({' '.join(worst)}); at most 1 point"
    )
    return [(bool(abs(ours[worst].mean()) <= LARGEST_BIAS), text)]


def _worse_documents(found: Mapping[Row, Mapping[str, np.ndarray]]) -> list[tuple[bool, str]]:
    """What the comparison is for: without our rules the published figure is far off, or equals come through."""
    stored = found[MAIN_CORRELATION, "equal", "seeds/004"]
    margin = found[MAIN_CORRELATION, "equal", "seeds/000"]
    share = margin["false"].sum() / margin["no_better"].sum()
    return [
        (
            bool(stored["claimed"].mean() > 0.47 + 10 * LARGEST_BIAS),
            f"seeds/004 claims {100 * stored['claimed'].mean():.1f} % at the end for a true 47 %",
        ),
        (bool(share > LARGEST_FALSE_SHARE), f"seeds/000 promotes {100 * share:.1f} % of equal candidates"),
    ]


def cost_of_fdr(found: Mapping[Row, Mapping[str, np.ndarray]]) -> dict[str, float]:
    """True strength at the end that fdr loses against per_try, by world, averaged over the correlations."""
    worlds = sorted({row[1] for row in found} - {"equal"})
    correlations = sorted({row[0] for row in found})

    def end(world: str, rule: str) -> float:
        return float(np.mean([found[correlation, world, rule]["end"].mean() for correlation in correlations]))

    return {world: end(world, "per_try") - end(world, "fdr") for world in worlds}


def _default(found: Mapping[Row, Mapping[str, np.ndarray]]) -> tuple[bool, str]:
    costs = cost_of_fdr(found)
    chosen = "fdr" if max(costs.values()) <= DEAREST_FDR else "per_try"
    configured = PromotionSettings().error
    listed = ", ".join(f"{100 * cost:+.2f} in {world}" for world, cost in costs.items())
    text = f"fdr costs {listed} points of true strength: the default is {chosen}, configured {configured}"
    return chosen == configured, text
