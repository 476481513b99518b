"""What the stages share, in rooms. A room imports only from rooms above it in this list (tests/test_rooms.py).

- ``experiment``: one run of a stage: params, files, provenance, checks before the start, arithmetic
- ``simulation``: Isaac Lab, from the params to running environments
- ``policy``: the trained unit, its files and exports
- ``ppo``: the algorithm; ``video``: camera, frames, mp4; ``evaluation``: episodes and their statistics
- ``training``: agent, learning, callbacks, checkpoints
"""
