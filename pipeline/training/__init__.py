"""The training run: from the params to PPO, learning with callbacks, checkpoints to go on from."""
