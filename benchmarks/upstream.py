"""Isaac Lab's own command line. On a machine without CUDA it needs the one workaround to run PhysX at all."""

from isaaclab.__main__ import main

from pipeline.simulation.workarounds import allow_pinned_arrays_without_cuda

if __name__ == "__main__":
    allow_pinned_arrays_without_cuda()
    main()
