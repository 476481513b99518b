"""Isaac Lab's experimental Warp front end: the managers of the task as kernels, which a GPU runs as CUDA graphs."""

from __future__ import annotations

from typing import Any

import warp as wp
from isaaclab.utils.seed import configure_seed
from isaaclab_experimental.envs import ManagerBasedRLEnvWarp
from isaaclab_experimental.envs.manager_based_env_warp import initialize_rng_state
from isaaclab_experimental.managers import reward_manager
from isaaclab_experimental.utils.manager_call_switch import ManagerCallMode
from isaaclab_experimental.utils.torch_utils import clone_obs_buffer


class WarpEnv(ManagerBasedRLEnvWarp):
    """Isaac Lab 3.0's, on a CPU too, deterministic if asked, and with what it leaves out of ``compute_final_obs``."""

    def __init__(self, cfg: Any) -> None:
        if cfg.sim.device == "cpu":  # has no graphs
            cfg.manager_call_config = {"default": int(ManagerCallMode.WARP_NOT_CAPTURED)}
        # One thread adds to the sums of all terms, and a deterministic Warp makes room for one addition a thread unless
        # told; it fails with "Deterministic scatter buffer overflow in kernel '_reward_finalize'".
        wp.set_module_options({"deterministic_max_records": len(vars(cfg.rewards))}, module=reward_manager)
        super().__init__(cfg=cfg)

    def seed(self, seed: int = -1) -> int:  # type: ignore[override]  # theirs is static
        """Seed all random numbers, those of the environments' own streams too, which Isaac Lab seeds but once."""
        used = configure_seed(seed)
        if hasattr(self, "rng_state_wp"):  # not yet while the base class is being set up
            wp.launch(initialize_rng_state, self.num_envs, [used, self.rng_state_wp], device=self.device)
        return used

    def _reset_idx(self, env_ids: Any, *, env_mask: Any = None) -> None:
        if env_mask is not None:  # after a step: these episodes have ended
            self.extras["final_obs"] = self._manager_call_switch.call_stage(
                stage="ObservationManager_compute_final",
                warp_call={
                    "fn": self.observation_manager.compute,
                    "kwargs": {"return_cloned_output": False},
                    "output": clone_obs_buffer,
                },
            )
        super()._reset_idx(env_ids, env_mask=env_mask)
