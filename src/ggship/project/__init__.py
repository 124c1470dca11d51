"""`ggship.yaml`: one file that says run, name, base, suite, gates, targets and gateway.

project = read_project(Path("ggship.yaml"))
for step in project.steps():
    ...  # step.command, step.arguments: what one would type
"""

from ggship.project.model import FILE, Gateway, Project, Step, Target
from ggship.project.read import parse_project, read_project
from ggship.project.schema import project_schema
from ggship.project.write import render_project

__all__ = [
    "FILE",
    "Gateway",
    "Project",
    "Step",
    "Target",
    "parse_project",
    "project_schema",
    "read_project",
    "render_project",
]
