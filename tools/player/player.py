"""The simulation that the page controls, at the speed of life or another."""

from __future__ import annotations

import time
from typing import Any

import torch

from pipeline.evaluation.cartpole import CART, POLE, find_cartpole
from pipeline.evaluation.episodes import EpisodeRecord, find_criterion
from pipeline.experiment.errors import UserError
from pipeline.policy.policy import Policy
from pipeline.simulation.tensor_env import PolicyFn, TensorEnv
from tools.player.panel import Panel
from tools.player.policies import Policies, learning_curve

# By how much a push changes the velocity of a joint [rad/s, m/s].
PUSHES = {"pole left": (POLE, 3.0), "pole right": (POLE, -3.0), "cart left": (CART, -2.0), "cart right": (CART, 2.0)}
LINES = 5  # of a plot, at most
SHOWN_EVERY, LOOKED_EVERY = 0.2, 3.0  # seconds between two looks at the plots, and for new checkpoints


class Player:
    """Environments in which a policy acts, until the process ends.

    Args:
        env: The running environments.
        policies: What acts.
        server: The page's server.
    """

    def __init__(self, env: TensorEnv, policies: Policies, server: Any) -> None:
        self._env, self._robot, self._policies, self._server = env, find_cartpole(env), policies, server
        self._actors: list[PolicyFn] = [self._random]
        pushes = {name: lambda push=push: self._push(*push) for name, push in PUSHES.items()} if self._robot else {}
        self._panel = Panel(server, "random actions", self._reset, pushes)
        for policy in policies.at_start:
            self._add(policy)
        self._record = EpisodeRecord(env, find_criterion(policies.task))
        self._outcome, self._rate, self._steps = "none yet", 0.0, 0
        self._due = self._show_at = self._look_at = self._counted = time.monotonic()
        self._reset()

    def run(self) -> None:
        """Step for ever, as the page wants it. Paused, it waits."""
        panel = self._panel
        while True:
            self._look()
            while not panel.wishes.empty():
                panel.wishes.get()()
            if not panel.paused or panel.single_step:
                panel.single_step = False
                self._step()
                self._wait()
            else:
                time.sleep(0.05)
                self._due = time.monotonic()
            self._show()

    def _step(self) -> None:
        with torch.no_grad():
            actions = self._actors[self._panel.chosen](self._observations)
            actions = actions if self._panel.acts.value else torch.zeros_like(actions)
            self._record.before_step()
            self._observations, rewards, dones, ended = self._env.step(actions)
            self._record.after_step(rewards)
        self._steps += 1
        if dones[0]:
            row = self._record.row(0, survived=not ended.terminated[0])
            verdict = "success" if row.get("success", row.get("survived")) else "no success"
            self._outcome = f"{verdict}, return {row['return']:.2f}"
        self._record.clear(dones)
        for plot, values in self._state().items():
            self._panel.add_point(plot, values)
        self._panel.add_point("action", dict(zip("12345", actions[0].tolist(), strict=False)))
        self._panel.add_point("reward by term", self._terms() or {"reward": float(rewards[0])})

    def _state(self) -> dict[str, dict[str, float]]:
        """Describe the first environment: a cartpole's joints, or else the first observations."""
        if not self._robot:
            return {"observations": dict(zip("12345", self._observations[0].tolist(), strict=False))}
        positions = dict(zip(self._robot.joint_names, self._robot.data.joint_pos.torch[0].tolist(), strict=True))
        return {"pole angle [rad]": {"pole": positions[POLE]}, "cart position [m]": {"cart": positions[CART]}}

    def _terms(self) -> dict[str, float]:
        manager: Any = getattr(self._env.task, "reward_manager", None)
        terms = manager.get_active_iterable_terms(0) if manager else []
        return {name: values[0] for name, values in terms[:LINES]}

    def _show(self) -> None:
        now = time.monotonic()
        if now < self._show_at or not self._server.get_clients():
            return
        self._show_at = now + SHOWN_EVERY
        if now - self._counted >= 1:
            self._rate, self._steps, self._counted = self._steps / (now - self._counted), 0, now
        state = [f"{plot}: {value:.3f}" for plot, lines in self._state().items() for value in lines.values()]
        lines = [f"{self._rate:.0f} steps a second", *state[:2], f"last episode: {self._outcome}"]
        self._panel.status.content = "  \n".join(line.replace("[", "(").replace("]", ")") for line in lines)
        self._panel.show()

    def _look(self) -> None:
        """Take in the checkpoints and the learning curve of a training that runs meanwhile."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOKED_EVERY
        try:
            for policy in self._policies.new():
                self._add(policy)
        except UserError as error:  # no reason to end the game
            print(error, flush=True)
        if curve := learning_curve():
            self._panel.show_plot("return in training, over timesteps", [*curve], {"return": [*curve.values()]})

    def _add(self, policy: Policy) -> None:
        policy.check_matches(policy.task, self._env.observation_space, self._env.action_space)
        self._actors.append(policy.for_inference(self._env.sim_device))
        self._panel.add_policy(f"{policy.timesteps:,} timesteps")

    def _wait(self) -> None:
        """Wait until the next step is due, at the wanted speed; who is late does not hurry afterwards."""
        numerator, _, denominator = self._panel.speed.value.partition("/")
        now = time.monotonic()
        if numerator.isdigit():
            self._due = max(self._due + self._env.unwrapped.step_dt * int(denominator or 1) / int(numerator), now - 0.1)
            time.sleep(max(self._due - now, 0))
        else:
            self._due = now

    def _reset(self) -> None:
        self._env.seed(int(self._panel.seed.value))
        self._observations = self._env.reset_twice()
        self._env.unwrapped.sim.render()  # else a page that is paused would show what was before
        self._record.clear(torch.ones(self._env.num_envs, dtype=torch.bool, device=self._env.sim_device))

    def _push(self, joint: str, velocity: float) -> None:
        index = self._robot.joint_names.index(joint)
        velocities = self._robot.data.joint_vel.torch[:, [index]] + velocity
        self._robot.write_joint_velocity_to_sim_index(velocity=velocities, joint_ids=[index])

    def _random(self, observations: torch.Tensor) -> torch.Tensor:
        return 2 * torch.rand(len(observations), *(self._env.action_space.shape or ()), device=observations.device) - 1
