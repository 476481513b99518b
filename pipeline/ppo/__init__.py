"""The algorithm: SB3's PPO and VecNormalize with all numbers as tensors on the simulator's device."""
