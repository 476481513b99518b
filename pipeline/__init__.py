"""What the stages share. A folder imports only from folders above it in this list, as tests/test_dvc_yaml.py has them.

- ``experiment``: one run of a stage: params, files, provenance, checks before the start, arithmetic
- ``simulation``: Isaac Lab, from the params to running environments
- ``policy``: the trained policy, its files and exports
- ``ppo``: the algorithm
- ``video``: camera, frames, mp4
- ``evaluation``: episodes and their statistics
- ``training``: agent, learning, callbacks, checkpoints
- ``card``: the model card, and the digests of all files
"""
