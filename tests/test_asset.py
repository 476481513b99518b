"""assets/cartpole.usda moves as NVIDIA's cartpole does, and as mechanics says, on both engines."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pxr import Usd, UsdPhysics
from scipy.integrate import solve_ivp

ROOT = Path(__file__).parent.parent
CARTPOLE = ROOT / "assets/cartpole.usda"
STUDIO = ROOT / "assets/studio.usda"

STEP = 1 / 1000  # s; the engines' error grows in proportion to it
STEPS = 600
GRAVITY = 9.81  # m/s2
CART_MASS = POLE_MASS = 1.0  # kg
POLE_CENTRE = 0.47  # m above the joint
POLE_INERTIA = (0.06**2 + 1.0**2) / 12  # kg m2 about its centre, a box of 0.06 m x 1 m
# PhysX slows the turning of every body by default, in 1/s; NVIDIA's cartpole leaves that default, and Newton has none.
ANGULAR_DAMPING = {"ovphysx": 0.05, "newton_mjwarp": 0.0}


class Start(NamedTuple):
    """How an experiment starts, and what acts on the cart from then on."""

    position: float  # m
    angle: float  # rad from upright
    velocity: float = 0.0  # m/s
    angular_velocity: float = 0.0  # rad/s
    effort: float = 0.0  # N
    damping: float = 0.0  # N s/m, of the cart's actuator


EXPERIMENTS = {
    "pushed cart": Start(0.0, math.pi, velocity=2.0),
    "pushed cart, damped": Start(0.0, math.pi, velocity=2.0, damping=10.0),
    "small swing": Start(0.0, math.pi + 0.1),
    "large swing": Start(0.0, 0.5, velocity=0.5, angular_velocity=1.0),
    "large swing, damped": Start(0.0, 0.5, damping=10.0),
    "effort": Start(-3.0, 0.3, effort=20.0, damping=10.0),
}
LIMITS = {"upper limit": Start(3.8, math.pi, velocity=1.0), "lower limit": Start(-3.8, math.pi, velocity=-1.0)}


class Motion(NamedTuple):
    """What one engine made of the experiments."""

    engine: str
    states: dict[str, np.ndarray]  # position, angle and their velocities, [STEPS + 1, 4]
    joints: list[str]
    mass: np.ndarray  # kg of slider, cart, pole
    centre: np.ndarray  # m, [3, 3]
    inertia: np.ndarray  # kg m2, [3, 3, 3]


@pytest.fixture(scope="module", params=sorted(ANGULAR_DAMPING))
def motion(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Motion:
    return simulate(request.param, CARTPOLE, tmp_path_factory.mktemp("motion"))


def simulate(engine: str, asset: Path, folder: Path) -> Motion:
    """Run all experiments at once, in a process of their own."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.test_asset", engine, str(asset), str(folder / "motion.npz")],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-6000:]
    data = np.load(folder / "motion.npz")
    states = dict(zip(EXPERIMENTS | LIMITS, data["states"].swapaxes(0, 1), strict=True))
    return Motion(engine, states, data["joints"].tolist(), data["mass"], data["centre"], data["inertia"])


def expected(start: Start, angular_damping: float) -> np.ndarray:
    """Integrate the equations of motion of a pole hinged to a cart: states as in :class:`Motion`."""

    def derivative(_: float, state: np.ndarray) -> list[float]:
        _, angle, velocity, turning = state
        coupling = POLE_MASS * POLE_CENTRE * math.cos(angle)
        inertia = [[CART_MASS + POLE_MASS, -coupling], [-coupling, POLE_INERTIA + POLE_MASS * POLE_CENTRE**2]]
        pull = POLE_MASS * POLE_CENTRE * math.sin(angle)
        force = start.effort - start.damping * velocity - pull * turning**2
        torque = pull * GRAVITY - angular_damping * POLE_INERTIA * turning
        return [velocity, turning, *np.linalg.solve(inertia, [force, torque])]

    times = np.arange(STEPS + 1) * STEP
    return solve_ivp(derivative, (0, times[-1]), start[:4], t_eval=times, rtol=1e-9, atol=1e-12).y.T


@pytest.mark.sim
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_moves_by_the_equations_of_motion(motion: Motion, name: str) -> None:
    wanted = expected(EXPERIMENTS[name], ANGULAR_DAMPING[motion.engine])
    tolerance = 1e-3 + 0.02 * np.ptp(wanted, axis=0)
    assert (np.abs(motion.states[name] - wanted).max(axis=0) < tolerance).all()


@pytest.mark.sim
def test_actuator_damping_slows_the_cart(motion: Motion) -> None:
    """Without drives on the joints PhysX would ignore it."""
    assert motion.states["pushed cart"][-1, 2] == pytest.approx(2.0, abs=1e-3)
    assert motion.states["pushed cart, damped"][200, 2] == pytest.approx(0.521, abs=0.005)


@pytest.mark.sim
def test_rail_ends_at_four_metres(motion: Motion) -> None:
    # Newton's limits give way by 4 cm at 1 m/s.
    assert 3.999 < motion.states["upper limit"][:, 0].max() < 4.1
    assert -4.1 < motion.states["lower limit"][:, 0].min() < -3.999


@pytest.mark.sim
def test_bodies_weigh_what_nvidias_do(motion: Motion) -> None:
    assert motion.joints == ["slider_to_cart", "cart_to_pole"]
    np.testing.assert_allclose(motion.mass[1:], [CART_MASS, POLE_MASS])
    np.testing.assert_allclose(motion.centre, [[0, 0, 0], [0, 0, 0], [0, 0, POLE_CENTRE]], atol=1e-6)
    for body, (x, y, z) in ((1, (0.2, 0.25, 0.2)), (2, (0.04, 0.06, 1.0))):
        box = np.diag([y**2 + z**2, x**2 + z**2, x**2 + y**2]) / 12
        np.testing.assert_allclose(motion.inertia[body], box, rtol=1e-5, atol=1e-8)


@pytest.mark.sim
def test_moves_as_nvidias_to_the_bit(motion: Motion, tmp_path: Path) -> None:
    """The copy of NVIDIA's asset in the package newton has no visuals, and leaves the inertias to the engine."""
    original = simulate(motion.engine, nvidias_cartpole(tmp_path / "cartpole.usda"), tmp_path)
    for name, states in motion.states.items():
        np.testing.assert_array_equal(states, original.states[name], err_msg=name)


def nvidias_cartpole(path: Path) -> Path:
    """Write newton's copy of NVIDIA's asset to ``path``, with the drives it lost and its default prim spelt right."""
    spec = importlib.util.find_spec("newton")
    assert spec is not None
    assert spec.submodule_search_locations
    stage = open_stage(Path(spec.submodule_search_locations[0], "examples/assets/cartpole_single_pendulum.usda"))
    stage.SetDefaultPrim(stage.GetPrimAtPath("/cartpole"))
    for joint, kind in (("slider/slider_to_cart", "linear"), ("cart/cart_to_pole", "angular")):
        drive: Any = UsdPhysics.DriveAPI.Apply(stage.GetPrimAtPath(f"/cartpole/{joint}"), kind)
        drive.CreateTypeAttr("force")
        drive.CreateMaxForceAttr(1000.0)
    stage.GetRootLayer().Export(str(path))
    return path


def open_stage(path: Path) -> Any:
    """Open a USD file, as an object without types, for pxr declares none that pyright could follow."""
    return Usd.Stage.Open(str(path))


@pytest.mark.unit
@pytest.mark.parametrize(("asset", "looks"), [(CARTPOLE, "/visuals/"), (STUDIO, "/studio")])
def test_looks_have_no_physics(asset: Path, looks: str) -> None:
    stage = open_stage(asset)
    prims = [prim for prim in stage.Traverse() if looks in str(prim.GetPath())]
    assert prims
    for prim in prims:
        assert not [schema for schema in prim.GetAppliedSchemas() if "Phys" in schema], prim.GetPath()


def main(engine: str, asset: str, output: str) -> None:
    """Run every experiment in an environment of its own and save what :class:`Motion` holds."""
    from pipeline.experiment.numerics import pin_numerics

    pin_numerics(threads=1)  # as a stage does, whose kernels Warp has then compiled already
    import torch

    from pipeline.experiment.params_file import load_params
    from pipeline.simulation.configuration import configure
    from pipeline.simulation.launch import running

    # On the CPU the bits are the same without the request for determinism, which costs seconds.
    sim = {"task": "Isaac-Cartpole", "physics": engine, "device": "cpu", "deterministic": False}
    params = load_params()
    params = params.model_copy(
        update={
            "sim": params.sim.model_copy(update=sim),
            "env": {"sim.dt": STEP},
        }
    )
    starts = torch.tensor([*EXPERIMENTS.values(), *LIMITS.values()])
    cfg, _ = configure(params.sim, params.env, num_envs=len(starts), seed=0)
    cfg.scene.robot.spawn.usd_path = asset
    with running(params.sim, cfg, Path(output).with_suffix(".log")) as env:
        env.reset()
        robot = env.unwrapped.scene["robot"]
        robot.write_joint_state_to_sim_index(position=starts[:, :2].clone(), velocity=starts[:, 2:4].clone())
        cart = [robot.joint_names.index("slider_to_cart")]
        robot.write_joint_damping_to_sim_index(damping=starts[:, 5:].clone(), joint_ids=cart)
        robot.set_joint_effort_target_index(target=starts[:, 4:5].clone(), joint_ids=cart)
        np.savez(
            output,
            states=np.stack([*states(env.unwrapped, robot)]),
            joints=robot.joint_names,
            mass=robot.data.body_mass.torch[0].numpy(),
            centre=robot.data.body_com_pos_b.torch[0].numpy(),
            inertia=robot.data.body_inertia.torch[0].reshape(3, 3, 3).numpy(),
        )


def states(env: Any, robot: Any) -> Iterator[np.ndarray]:
    """Step the physics alone, without actions, rewards and resets; yield the joint states of all environments."""
    for step in range(STEPS + 1):
        if step:
            env.scene.write_data_to_sim()
            env.sim.step(render=False)
            env.scene.update(STEP)
        yield np.concatenate([robot.data.joint_pos.torch.numpy(), robot.data.joint_vel.torch.numpy()], axis=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
