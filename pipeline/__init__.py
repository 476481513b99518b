"""What the stages share: params, simulation, training, the trained unit, metrics and video."""
