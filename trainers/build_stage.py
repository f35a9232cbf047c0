"""First stage of a trial: build the candidate (or the seven of a confirmation), play the screen, say what came out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from supervisor.contract import Json, Params, Reason, Status, Tally, TrialResult, TrialSpec, as_json, parse
from supervisor.errors import TrialError
from supervisor.journal import durable, sealed
from trainers.ledger import Block, Ledger, spans, tally
from trainers.target import Built, Player, Preparing, TrialTarget

BUILT_NAME = "built.json"
FAILED_NAME = "failed.json"
MODEL_NAME = "model.onnx"
WEIGHTS_NAME = "final.pt"
PHASES = ("confirm", "screen", "topup")  # a contest's games may be in the file already, if this stage is done again
_FAILURES = (
    Reason.CRASHED,
    Reason.NAN,
    Reason.DIVERGED,
    Reason.HUNG,
    Reason.NO_PROGRESS,
    Reason.EXPORT_MISMATCH,
)
CONFIRMATION_ROUNDS = ((7, 60), (4, 100), (2, 200))  # candidates still in, games each of them plays (DESIGN 7)


def build_stage(spec: TrialSpec, folder: Path, target: TrialTarget, ledger: Ledger) -> TrialResult:
    """The candidate with its screen games. Raises TrialError when there can be none."""
    confirmation: list[dict[str, Json]] = []
    if spec.candidates:
        params, built, confirmation = _confirm(spec, folder, target, ledger)
    else:
        params, built = spec.params, build(target, spec.params, folder)
    # Before the games: what happens to a file while they are played must not become its hash.
    model_sha256 = durable.sha256_file(built.model) if built.model else built.config_sha256
    weights_sha256 = durable.sha256_file(built.weights) if built.weights else None
    player = target.candidate(params, built)
    opponent = target.incumbent(spec.incumbent) if spec.incumbent else None
    ours, theirs = _screen(spec, target, ledger, player, opponent)
    topup = _topup(spec, target, ledger, opponent) if opponent else Tally()
    differences = [a - b for a, b in zip(ours, theirs, strict=True)] if theirs else []
    return TrialResult(
        iteration=spec.iteration,
        status=Status.COMPLETE,
        params=params,
        steps=built.steps,
        candidate=tally(ours),
        incumbent=tally(theirs),
        delta=sum(differences) / len(differences) if differences else None,
        topup=topup,
        games=ledger.games(*PHASES),
        model_sha256=model_sha256,
        weights_sha256=weights_sha256,
        interface=built.interface,
        measured=built.measured,
        metrics={**built.metrics, **ledger.metrics("screen", "candidate")},
        latency=built.latency,
        confirmation=tuple(confirmation),
    )


def build(target: TrialTarget, params: Params, work: Path) -> Built:
    """Build in `work`, or take what an earlier attempt finished there."""
    known = load_built(work)
    if known is not None:
        return known
    built = target.build(params, work)
    _save_built(work, built)
    return built


def load_built(work: Path) -> Built | None:
    """What was built in the folder; None if nothing was, or if a file is not as it was written."""
    try:
        body = sealed.read(work / BUILT_NAME)
        hashes = body.pop("hashes")
        built = parse(Built, body)
    except (FileNotFoundError, ValueError, KeyError):
        return None
    if not isinstance(hashes, dict):
        return None
    for name, sha256 in hashes.items():
        file = work / name
        if not file.is_file() or durable.sha256_file(file) != sha256:
            return None
    return replace(
        built,
        model=work / MODEL_NAME if MODEL_NAME in hashes else None,
        weights=work / WEIGHTS_NAME if WEIGHTS_NAME in hashes else None,
    )


def _save_built(work: Path, built: Built) -> None:
    files = [path for path in (built.model, built.weights) if path is not None]
    body = as_json(replace(built, model=None, weights=None))
    sealed.write(work / BUILT_NAME, {**body, "hashes": {path.name: durable.sha256_file(path) for path in files}})


def _screen(
    spec: TrialSpec, target: TrialTarget, ledger: Ledger, player: Player, opponent: Player | None
) -> tuple[list[float], list[float]]:
    ours: list[float] = []
    theirs: list[float] = []
    for span in spans(spec.games, target.block_games):
        ours += _scores(ledger.play("screen", "candidate", player, spec.seeds["screen"], span))
        if opponent is not None:
            theirs += _scores(ledger.play("screen", "incumbent", opponent, spec.seeds["screen"], span))
    return ours, theirs


def _topup(spec: TrialSpec, target: TrialTarget, ledger: Ledger, opponent: Player) -> Tally:
    scores: list[float] = []
    for span in spans(spec.topup_games, target.block_games):
        scores += _scores(ledger.play("topup", "incumbent", opponent, spec.seeds["topup"], span))
    return tally(scores)


def _scores(block: Block) -> list[float]:
    """Outside the paired test a block that cannot be played ends the trial."""
    if block.error is not None:
        raise TrialError(block.error, f"{block.side}, games from seed {block.first_seed}: {block.detail}")
    return block.counted


def _confirm(
    spec: TrialSpec, folder: Path, target: TrialTarget, ledger: Ledger
) -> tuple[Params, Built, list[dict[str, Json]]]:
    """Sequential halving on common fresh games; the winner's files come to the trial folder itself."""
    built: dict[int, Built] = {}
    failures: list[TrialError] = []
    works = [folder / f"c{number}" for number in range(len(spec.candidates))]
    for work in works:
        durable.make_folder(work)
    if isinstance(target, Preparing):
        pairs = zip(spec.candidates, works, strict=True)
        target.prepare([(params, work) for params, work in pairs if not _is_done(work)])
    for number, (params, work) in enumerate(zip(spec.candidates, works, strict=True)):
        try:
            built[number] = _build_once(target, params, work)
        except TrialError as error:
            failures.append(error)
    if not built:
        raise failures[0]
    scores: dict[int, list[float]] = {number: [] for number in built}
    start = 0
    ranked = sorted(built)
    for survivors, games in CONFIRMATION_ROUNDS:
        ranked = ranked[:survivors]
        for number in ranked:
            player = target.candidate(spec.candidates[number], built[number])
            for span in spans(games, target.block_games, start):
                block = ledger.play("confirm", f"c{number}", player, spec.seeds["confirm"], span)
                scores[number] += block.counted or [0.0] * block.games  # a side that cannot play loses
        start += games
        ranked = sorted(ranked, key=lambda number: (-sum(scores[number]) / len(scores[number]), number))
    winner = ranked[0]
    report: list[dict[str, Json]] = [
        {"candidate": number, "games": len(scores[number]), "score": sum(scores[number])} for number in sorted(scores)
    ]
    return spec.candidates[winner], _adopt(folder, folder / f"c{winner}", built[winner]), report


def _is_done(work: Path) -> bool:
    return load_built(work) is not None or (work / FAILED_NAME).exists()


def _build_once(target: TrialTarget, params: Params, work: Path) -> Built:
    """`build`, and a failure is remembered: games may have been played without this candidate since."""
    path = work / FAILED_NAME
    try:
        known = sealed.read(path)
    except (FileNotFoundError, sealed.DamagedFileError):
        pass
    else:
        raise TrialError(str(known["reason"]), str(known["detail"]))
    try:
        return build(target, params, work)
    except TrialError as error:
        sealed.write(path, {"reason": error.reason, "detail": error.detail})
        raise


def _adopt(folder: Path, work: Path, built: Built) -> Built:
    for path in (built.model, built.weights):
        if path is not None:
            durable.write_atomic(folder / path.name, path.read_bytes())
    moved = replace(
        built,
        model=folder / MODEL_NAME if built.model else None,
        weights=folder / WEIGHTS_NAME if built.weights else None,
    )
    _save_built(folder, moved)
    return moved


def failed(spec: TrialSpec, error: TrialError) -> TrialResult:
    """A trial without a candidate, as a result."""
    reason = Reason(error.reason)
    status = Status.OUT_OF_BUDGET if reason in (Reason.OUT_OF_MEMORY, Reason.WALL_TIME) else Status.INVALID
    if reason in _FAILURES:
        status = Status.FAILED
    return TrialResult(
        iteration=spec.iteration, status=status, reason=reason, params=spec.params, detail=error.detail[-2000:]
    )
