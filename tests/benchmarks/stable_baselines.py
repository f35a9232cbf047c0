"""Side by side with stable-baselines3: steps per second and what is reached with them, on Gymnasium's small classics.

    pip install --target peers --no-deps stable-baselines3==2.9.2 pandas matplotlib python-dateutil six tzdata pytz \
        contourpy cycler fonttools kiwisolver pillow pyparsing
    python -m tests.benchmarks.stable_baselines --peers peers \
        [--only dqn,double,ppo,sac] [--seeds 5] [--speed-only | --returns-only]

One process, one thread, the same environments, algorithms, networks, batch sizes and update ratios; `double` is our DQN
with all that it has (double Q-learning, prioritized replay) beside their plain one. Speed: alternating stretches of
either side over the same number of steps, the median of the ratios. Return: mean of 20 episodes of the trained policy
after equal steps, seed by seed. The share outside torch is what `torch.profiler` does not see of the time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler announces itself otherwise

import gymnasium
import numpy as np
import torch

from trainers.algorithms import dqn, dqn_args, ppo, sac
from trainers.algorithms.defaults import DqnArgs, PpoArgs, SacArgs
from trainers.gymnasium_episodes import Episodes, Shape, Worth, made
from trainers.learner import Learner

STRETCHES = 7
PROFILED = 8  # part of a stretch: the profiler keeps every kernel
EPISODES = 20
FIRST_EPISODE = 10**6


@dataclass(frozen=True)
class Match:
    """One algorithm on one environment, for both sides."""

    name: str
    environment: str
    rows: int  # episodes side by side
    speed_steps: int  # environment steps of a stretch
    return_steps: int  # of the training whose policy is judged
    gradient_steps: Callable[[int], int]  # that so many environment steps pay for
    ours: Callable[[int, int], Learner]  # (steps, seed)
    theirs: Callable[[int], Any]  # (seed)
    warm_up: int  # steps before the first gradient step


DOUBLE_ARGS = DqnArgs(
    learning_rate=2.3e-3,
    learning_rate_end=0.0,
    gamma=0.98,
    n_step=1,
    batch_size=64,
    updates=4,
    target_interval=128,
    replay_rows=12500,
    learning_starts=125,
    exploration_noise=0.04,
    exploration_fraction=0.16,
    hidden="256,256",
)
DQN_ARGS = replace(DOUBLE_ARGS, double=False, priority_alpha=0.0)
PPO_ARGS = PpoArgs(hidden="64,64", head="64", learning_rate_end=0.0)
SAC_ARGS = SacArgs(hidden="256,256", learning_starts=25, updates=4, replay_rows=25000)
ROWS = {"dqn": 8, "ppo": 8, "sac": 4}


def matches() -> dict[str, Match]:
    """Hyperparameters of rl-zoo3 where it has them for the environment, the same on both sides.

    DQN's learning rate falls to 0 and its gamma is 0.98, not 0.99: with a constant rate what the last policy reaches is
    a matter of luck, on both sides (one and the same seed went from 500 to 26 within ten thousand steps).
    """
    return {
        "dqn": _dqn("dqn", DQN_ARGS),
        "double": _dqn("double", DOUBLE_ARGS),
        "ppo": Match(
            "ppo",
            "CartPole-v1",
            ROWS["ppo"],
            8192,
            100_000,
            lambda steps: steps // 256 * PPO_ARGS.epochs,
            lambda steps, seed: ppo.Ppo(PPO_ARGS, *_world("CartPole-v1", ROWS["ppo"], steps, seed)),
            _their_ppo,
            0,
        ),
        "sac": Match(
            "sac",
            "Pendulum-v1",
            ROWS["sac"],
            512,
            20_000,
            lambda steps: steps,
            lambda steps, seed: sac.Sac(SAC_ARGS, *_world("Pendulum-v1", ROWS["sac"], steps, seed)),
            _their_sac,
            100,
        ),
    }


def _dqn(name: str, args: dqn_args.Args) -> Match:
    return Match(
        name,
        "CartPole-v1",
        ROWS["dqn"],
        2048,
        50_000,
        lambda steps: steps // 2,
        lambda steps, seed: dqn.DoubleDQN(args, *_world("CartPole-v1", ROWS["dqn"], steps, seed)),
        _their_dqn,
        1000,
    )


def _world(name: str, rows: int, steps: int, seed: int) -> tuple[Episodes, int, int, int, int]:
    shape = Shape(made(name, {}))
    return Episodes(name, {}, rows, seed * 100_000, Worth(0, 1)), steps, seed, shape.inputs, shape.outputs


def _their_world(name: str, rows: int, seed: int) -> Any:
    from stable_baselines3.common.vec_env import DummyVecEnv

    world = DummyVecEnv([lambda: gymnasium.make(name) for _ in range(rows)])
    world.seed(seed * 100_000)
    return world


def _their_dqn(seed: int) -> Any:
    from stable_baselines3 import DQN

    return DQN(
        "MlpPolicy",
        _their_world("CartPole-v1", ROWS["dqn"], seed),
        learning_rate=lambda left: left * DQN_ARGS.learning_rate,
        buffer_size=100_000,
        learning_starts=1000,
        batch_size=64,
        gamma=DQN_ARGS.gamma,
        train_freq=32,  # by 8 environments: all 256 steps
        gradient_steps=128,
        target_update_interval=10,  # that is before each of those 128
        exploration_fraction=0.16,
        exploration_final_eps=0.04,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )


def _their_ppo(seed: int) -> Any:
    from stable_baselines3 import PPO

    return PPO(
        "MlpPolicy",
        _their_world("CartPole-v1", ROWS["ppo"], seed),
        learning_rate=lambda left: left * PPO_ARGS.learning_rate,
        n_steps=PPO_ARGS.horizon,
        batch_size=PPO_ARGS.batch_size,
        n_epochs=PPO_ARGS.epochs,
        gamma=PPO_ARGS.gamma,
        gae_lambda=PPO_ARGS.gae_lambda,
        clip_range=PPO_ARGS.clip,
        ent_coef=0.0,
        vf_coef=PPO_ARGS.value_coefficient,
        policy_kwargs={"net_arch": {"pi": [64, 64, 64], "vf": [64, 64, 64]}},
        seed=seed,
        device="cpu",
    )


def _their_sac(seed: int) -> Any:
    from stable_baselines3 import SAC

    return SAC(
        "MlpPolicy",
        _their_world("Pendulum-v1", ROWS["sac"], seed),
        learning_rate=SAC_ARGS.learning_rate,
        buffer_size=100_000,
        learning_starts=100,
        batch_size=SAC_ARGS.batch_size,
        tau=SAC_ARGS.tau,
        gamma=SAC_ARGS.gamma,
        train_freq=1,
        gradient_steps=4,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )


def speed(match: Match) -> tuple[float, float, float, float, float]:
    """Environment steps per second of ours and theirs, the median ratio, the shares outside torch."""
    ours = match.ours(10 * (STRETCHES + 2) * match.speed_steps, 1)
    theirs = match.theirs(1)

    def we(steps: int) -> None:
        until = ours.steps_done + steps
        while ours.steps_done < until:
            ours.advance()

    def they(steps: int) -> None:
        theirs.learn(steps, reset_num_timesteps=False)

    for side in (we, they):
        side(match.warm_up + match.speed_steps)
    pairs = [(_timed(we, match.speed_steps), _timed(they, match.speed_steps)) for _ in range(STRETCHES)]
    ratio = statistics.median(slow / fast for fast, slow in pairs)
    rates = [match.speed_steps / statistics.median(side) for side in zip(*pairs, strict=True)]
    shares = [_outside_torch(side, match.speed_steps // PROFILED) for side in (we, they)]
    return rates[0], rates[1], ratio, shares[0], shares[1]


def _timed(work: Callable[[int], None], steps: int) -> float:
    began_s = time.perf_counter()
    work(steps)
    return time.perf_counter() - began_s


def _outside_torch(work: Callable[[int], None], steps: int) -> float:
    """Share of the time in which no torch kernel ran; the profiler's own cost counts as outside, on both sides."""
    began_s = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work(steps)
    took_s = time.perf_counter() - began_s
    inside_s = (
        sum(event.self_cpu_time_total for event in profile.key_averages() if event.key.startswith("aten::")) / 1e6
    )
    return max(0.0, 1 - inside_s / took_s)


def returns(match: Match, seed: int) -> tuple[float, float]:
    """Mean return of both trained policies over the same episodes."""
    ours = match.ours(match.return_steps, seed)
    while not ours.finished:
        ours.advance()
    exported = ours.exported()

    def we(state: np.ndarray) -> Any:
        with torch.no_grad():
            said = exported.network(torch.from_numpy(state[None].astype(np.float32)))
        first = (said[0] if isinstance(said, tuple) else said)[0].numpy()
        return first if "action" in exported.outputs else int(first.argmax())

    theirs = match.theirs(seed)
    theirs.learn(match.return_steps)

    def they(state: np.ndarray) -> Any:
        return theirs.policy.predict(state, deterministic=True)[0]

    shape = Shape(made(match.environment, {}))
    return _mean(match, lambda state: shape.act(we(state))), _mean(match, they)


def _mean(match: Match, act: Callable[[np.ndarray], Any]) -> float:
    world, totals = gymnasium.make(match.environment), []
    for episode in range(EPISODES):
        state, _ = world.reset(seed=FIRST_EPISODE + episode)
        total, over = 0.0, False
        while not over:
            action = act(state)
            state, reward, ended, cut, _ = world.step(action if np.ndim(action) else int(action))
            total, over = total + float(reward), ended or cut
        totals.append(total)
    return statistics.fmean(totals)


def report_speed(chosen: Mapping[str, Match]) -> None:
    print(f"{'':7}{'environment steps/s':>26}{'gradient steps/s':>26}{'ratio':>8}{'outside torch':>22}")
    for name, match in chosen.items():
        ours, theirs, ratio, our_share, their_share = speed(match)
        paid = match.gradient_steps(10**6) / 10**6
        print(
            f"{name:7}{ours:13,.0f}{theirs:13,.0f}{ours * paid:13,.0f}{theirs * paid:13,.0f}{ratio:8.2f}"
            f"{our_share:12.0%}{their_share:10.0%}",
            flush=True,
        )


def report_returns(chosen: Mapping[str, Match], seeds: int) -> None:
    print(f"mean return of {EPISODES} episodes after equal steps: ours, theirs")
    for name, match in chosen.items():
        found = []
        for seed in range(1, seeds + 1):
            found.append(returns(match, seed))
            print(f"{name:6} seed {seed}: {found[-1][0]:9.1f} {found[-1][1]:9.1f}", flush=True)
        means = [statistics.fmean(side) for side in zip(*found, strict=True)]
        print(f"{name:6} mean:   {means[0]:9.1f} {means[1]:9.1f}   after {match.return_steps:,} steps", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="folder that stable-baselines3 was installed into")
    parser.add_argument("--only", default="dqn,double,ppo,sac", help="comma separated")
    parser.add_argument("--seeds", type=int, default=5)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--speed-only", action="store_true")
    part.add_argument("--returns-only", action="store_true")
    parser.add_argument("--return-steps", type=int, help="instead of each algorithm's own")
    options = parser.parse_args()
    sys.path.append(str(options.peers.resolve()))
    torch.set_num_threads(1)
    known = matches()
    chosen = {name: known[name] for name in options.only.split(",")}
    if options.return_steps:
        chosen = {name: replace(match, return_steps=options.return_steps) for name, match in chosen.items()}
    if not options.returns_only:
        report_speed(chosen)
    if not options.speed_only:
        report_returns(chosen, options.seeds)


if __name__ == "__main__":
    main()
