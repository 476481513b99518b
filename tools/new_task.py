"""Write a project with a task of one's own into tasks/, and its params beside it: copies of tools/my_robot/."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from pipeline.experiment.paths import PARAMS_FILE, TASKS

TEMPLATE = Path(__file__).parent / "my_robot"
KINDS = (".py", ".toml", ".usda", ".yaml")  # of its files; tools leave others there
NAME = re.compile(r"(?!isaac)[a-z][a-z0-9]*(_[a-z0-9]+)*")  # Isaac Lab's own tasks are Isaac-...


def main() -> None:
    """Write the project that the command line names, and say how to go on."""
    parser = argparse.ArgumentParser(prog="make new-task", description=__doc__)
    parser.add_argument("name", help="of the project and its Python package, such as tilt_cart")
    name = parser.parse_args().name
    check_name(name)
    load_params()  # refuses what nothing could run with, before anything is written
    write_project(name)
    write_params(name)
    project = TASKS / name
    print(f"{project}/ and {project}.yaml are written; docs/own-tasks.md goes on from here:")
    print(f"    git add {project} {project}.yaml && git commit -m 'A task of my own'")
    print(f'    make experiment PARAMS={project}.yaml ARGS="--name {name.replace("_", "-")}"')


def check_name(name: str) -> None:
    """Refuse a name that is none of a package, or that something else has.

    Raises:
        UserError: If so.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            "NAME should be small letters and digits with single underscores between them, and not begin with isaac, "
            f"as in `make new-task NAME=tilt_cart` (given: {name!r})"
        )
    if taken := [path for path in (TASKS / name, TASKS / f"{name}.yaml") if path.exists()]:
        raise UserError(f"NAME: there is {taken[0]} already; take another name, or move that away")
    if keyword.iskeyword(name) or importlib.util.find_spec(name):
        raise UserError(f"NAME: {name} is a word of Python, or a module that would be found first; take another name")


def write_project(name: str) -> None:
    """Copy the template to ``tasks/<name>``, with the name of the task in all its spellings."""
    for file in TEMPLATE.rglob("*"):
        if file.suffix in KINDS:
            copy = TASKS / name / _renamed(str(file.relative_to(TEMPLATE)), name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(_renamed(file.read_text(), name))  # also where it is a link, as the asset's


def _renamed(text: str, name: str) -> str:
    words = [word.capitalize() for word in name.split("_")]
    return text.replace("my_robot", name).replace("MyRobot", "".join(words)).replace("My-Robot", task_of(name))


def task_of(name: str) -> str:
    """Name the task of a project: ``Tilt-Cart`` of ``tilt_cart``."""
    return "-".join(word.capitalize() for word in name.split("_"))


def write_params(name: str) -> None:
    """Write ``tasks/<name>.yaml``: params.yaml with the new task, whose own file has PPO's arguments."""
    yaml = YAML()
    yaml.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    params = yaml.load(PARAMS_FILE)
    params["sim"] |= {"project": name, "task": task_of(name)}
    params["env"], params["ppo"] = {}, {}
    params.yaml_set_comment_before_after_key("normalize", before="\n")  # the blank line, which belonged to PPO's last
    yaml.dump(params, TASKS / f"{name}.yaml")


if __name__ == "__main__":
    main()
