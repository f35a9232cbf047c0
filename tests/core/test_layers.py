"""Imports only go down, and the packages keep to themselves: DESIGN's table of layers, checked on every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# from the bottom up; a module may import its own layer and those before it
LAYERS = (
    (
        "supervisor.contract",
        "supervisor.errors",
        "supervisor.seeds",
        "supervisor.versions",
        "supervisor.signals",
        "supervisor.clock",
        "supervisor.notify",
        "supervisor.tasks",
        "supervisor.lesson",
    ),
    ("supervisor.record", "supervisor.journal.durable", "supervisor.journal.sealed"),
    (
        "supervisor.agenda",
        "supervisor.config",
        "supervisor.external",
        "supervisor.promotion",
        "supervisor.search.space",
        "supervisor.search.spsa",
        "supervisor.search.fold",
        "supervisor.search.schedule",
        "supervisor.state",
        "supervisor.totals",
        "supervisor.cycle",
    ),
    ("supervisor.curriculum", "supervisor.experience"),
    ("supervisor.journal", "supervisor.execution"),
    ("supervisor.search", "supervisor.registry"),
    ("supervisor.deciding", "supervisor.console", "supervisor.rules", "supervisor.retention"),
    (
        "supervisor.history",
        "supervisor.reporting",
        "supervisor.memory",
        "supervisor.planning",
        "supervisor.flight",
        "supervisor.model_files",
        "supervisor.intake",
        "supervisor.parts",
        "supervisor.horizon",
        "supervisor.look",
        "supervisor.silence",
        "supervisor.putting_off",
    ),
    (
        "supervisor.admitting",
        "supervisor.grouping",
        "supervisor.lessons",
        "supervisor.proposing",
        "supervisor.storekeeper",
        "supervisor.storekeeping",
        "supervisor.starting_over",
    ),
    ("supervisor.projections", "supervisor.committing", "supervisor.loop", "supervisor.serving", "supervisor.metrics"),
    (
        "supervisor.commands",
        "supervisor.flags",
        "supervisor.cli_models",
        "supervisor.cli_store",
        "supervisor.cli",
        "supervisor.__main__",
    ),
)
TRAINERS_MAY_IMPORT = (
    "supervisor.contract",
    "supervisor.errors",
    "supervisor.tasks",
    "supervisor.journal.durable",
    "supervisor.journal.removal",
    "supervisor.journal.sealed",
    "supervisor.promotion",
    "supervisor.external",
    "supervisor.experience",
    "supervisor.lesson",
)


def modules():
    for package in ("supervisor", "trainers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, path


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


KNOWN = dict(modules())


def layer_of(name):
    """The longest entry of the table that names the module decides."""
    fitting = [
        (len(entry), number)
        for number, entries in enumerate(LAYERS)
        for entry in entries
        if name == entry or name.startswith(f"{entry}.")
    ]
    assert fitting, f"{name} is in no layer: add it to the table"
    return max(fitting)[1]


@pytest.mark.parametrize("name", [name for name in KNOWN if name.startswith("supervisor.")])
def test_imports_of_the_supervisor_only_go_down(name):
    if KNOWN[name].name == "__init__.py":
        return
    for target in imports(KNOWN[name]):
        if target in KNOWN and target != "supervisor" and KNOWN[target].name != "__init__.py":
            assert layer_of(target) <= layer_of(name), f"{name} imports {target}, which lies above it"


def test_the_supervisor_never_imports_torch_or_the_trainers():
    for name, path in KNOWN.items():
        if name.startswith("supervisor"):
            packages = {target.split(".")[0] for target in imports(path)}
            assert not packages & {"torch", "trainers"}, name


def test_the_trainers_import_of_the_supervisor_only_what_the_design_names():
    for name, path in KNOWN.items():
        if name.startswith("trainers"):
            for target in imports(path):
                if target.startswith("supervisor.") and target in KNOWN and KNOWN[target].name != "__init__.py":
                    assert target.startswith(TRAINERS_MAY_IMPORT), f"{name} imports {target}"


def test_packages_re_export_nothing():
    for name, path in KNOWN.items():
        if path.name == "__init__.py":
            assert not path.read_text().strip(), name


def test_no_import_cycle_at_module_level():
    edges = {
        name: {target for target in imports(path, top_level_only=True) if target in KNOWN and target != name}
        for name, path in KNOWN.items()
    }
    done, open_ = set(), []

    def visit(name):
        if name in done:
            return
        assert name not in open_, " -> ".join([*open_[open_.index(name) :], name])
        open_.append(name)
        for target in sorted(edges[name]):
            visit(target)
        open_.pop()
        done.add(name)

    for name in edges:
        visit(name)


def test_no_file_is_over_400_lines():
    for name, path in KNOWN.items():
        assert len(path.read_text().splitlines()) <= 400, name


def test_a_run_loads_neither_the_model_runtime_nor_the_web_server():
    unwanted = ("onnxruntime", "starlette", "uvicorn", "torch", "pyarrow", "psycopg")
    code = f"import supervisor.commands.run, sys; print([name for name in {unwanted} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout == b"[]\n"


@pytest.mark.parametrize(
    "command", ["ask", "gc", "serve", "doctor", "status", "export", "validate", "storetransport", "report"]
)
def test_a_command_that_searches_nothing_loads_no_optuna(command):
    unwanted = ("optuna", "scipy", "sqlalchemy")
    code = f"import supervisor.commands.{command}, sys; print([name for name in {unwanted} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout == b"[]\n"


def test_a_run_loads_scipy_only_where_its_sampler_needs_it():
    code = "import supervisor.commands.run, sys; print('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout == b"False\n"
