"""Projects with tasks of one's own, as Isaac Lab's template makes them: found in tasks/, and never installed."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata

from pipeline.experiment.errors import UserError, did_you_mean
from pipeline.experiment.paths import ISAAC_LAB, LOCKED_PACKAGES, TASKS
from pipeline.simulation.tracked import import_tracked, is_tracked

GROUP = "isaaclab.tasks"  # of entry points, each of which names a module that registers tasks


def register_project(project: str) -> None:
    """Register the tasks of ``tasks/<project>`` with gymnasium. Those of Isaac Lab are registered anyway.

    Raises:
        UserError: If there is no such project, or it cannot be imported.
    """
    projects = sorted(folder.name for folder in TASKS.iterdir() if folder.is_dir())
    if project not in projects:
        raise UserError(f"sim.project: there is no folder {project!r} in {TASKS}/; {did_you_mean(project, projects)}")
    if project == ISAAC_LAB:
        return
    source = str((TASKS / project / "src").resolve())
    if source not in sys.path:
        sys.path.append(source)  # after .venv, so that no file of it takes the place of a package
    for module in _entry_points(project):
        import_tracked("sim.project", module)


def _entry_points(project: str) -> list[str]:
    file = TASKS / project / "pyproject.toml"
    try:
        named = tomllib.loads(file.read_text())["project"]["entry-points"][GROUP]
        return [module.strip() for module in named.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f'sim.project: {file} should name the modules that register tasks, in [project.entry-points."{GROUP}"]'
        ) from None


def check_imports(project: str, modules: Iterable[str]) -> None:
    """Refuse ``modules``, which a project has imported, if there is one that DVC would not see a change of.

    Raises:
        UserError: If one is of a package that is installed from elsewhere, or lies about on the path.
    """
    packages = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    for package in sorted(packages if project != ISAAC_LAB else ()):
        if not is_tracked(package):
            raise UserError(
                f"sim.project: {project} imports {package}, of which DVC would not see a change; copy it into "
                f"{TASKS / project / 'src'}/, or let {LOCKED_PACKAGES} pin it"
            )


def register_installed() -> None:
    """Register the tasks of those packages that have some and that requirements.txt pins."""
    for entry in metadata.entry_points(group=GROUP):
        if is_tracked(entry.module.partition(".")[0]):
            import_tracked("sim.task", entry.module)
