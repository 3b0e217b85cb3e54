"""The house: imports go downwards only, and a stage depends on the rooms that its notebook reaches."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest
import yaml

ROOMS = [
    *("__main__", "pipeline", "audit", "claims", "overrepresentation", "evaluation", "defences", "attacks", "generators"),
    *("embedders", "datasets", "faces", "plots", "statistics", "config"),
]  # fmt: skip
"""From the top floor to the ground; a room imports only rooms below it."""
STAGES = {
    "faces": "1_faces", "embed": "2_embed", "train": "3_train", "generate": "4_generate", "attack": "5_attack",
    "evaluate": "6_evaluate", "sensitivity": "7_sensitivity", "overrepresentation": "8_overrepresentation", "claims": "9_claims",
}  # fmt: skip
"""Stage -> its notebook."""
NOT_LISTED = ("ppe/__init__.py", "ppe/config/", "ppe/pipeline/", "ppe/generators/__init__.py")
"""What no stage depends on: values that are tracked as params, what only starts stages, and the registry of generators."""
OWN = "ppe/generators/${item.generator}.py"
ROOT_FILES = 3
"""Files at the root of ppe/, at most."""


def read_imports(code, root):
    """Files of ppe that a piece of code imports directly."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ppe"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("ppe")}
    packages = {name.rsplit(".", n)[0] for name in names for n in range(1, name.count("."))}
    files = {name.replace(".", "/") + end for name in names for end in (".py", "/__init__.py")}
    files |= {name.replace(".", "/") + "/__init__.py" for name in packages}  # a package's own code runs first
    return {name for name in files if (root / name).is_file()}


def follow_imports(root, code):
    """Files of ppe that a piece of code reaches; the registry of embedders reaches all of them, that of generators none."""
    todo, reached = read_imports(code, root), set()
    while todo:
        file = todo.pop()
        reached.add(file)
        code = (root / file).read_text()
        found = read_imports(code, root)
        if file == "ppe/embedders/__init__.py":
            found |= {n.replace(".", "/") + ".py" for n in re.findall(r'"(ppe\.embedders\.\w+)"', code)}
        todo |= found - reached
    return reached


def has_code(file):
    """Whether a file holds more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(file.read_text()).body)


def read_stage(root, stage):
    graph = yaml.safe_load((root / "dvc.yaml").read_text())["stages"][stage]
    return graph.get("do", graph)


def check_dependencies(root, listed, reached):
    """Every file that is reached lies in a room, or is a file, that is listed; and every listed one is needed."""
    own = follow_imports(root, "import ppe.generators.fastgan") if OWN in listed else set()
    wanted = {file for file in reached | own if not file.startswith(NOT_LISTED) and has_code(root / file)}
    covers = {dep: {file for file in wanted if file == dep or file.startswith(f"{dep}/")} for dep in listed}
    covers |= {OWN: {"ppe/generators/fastgan.py"}} if OWN in listed else {}
    missing = wanted - set().union(*covers.values())
    assert not missing, f"not listed in dvc.yaml: {sorted(missing)}"
    idle = {dep for dep in listed if not covers[dep]}
    assert not idle, f"listed in dvc.yaml, and not reached: {sorted(idle)}"


def test_a_room_imports_only_rooms_below_it(root):
    arrows = set()
    for file in sorted((root / "ppe").rglob("*.py")):
        room = file.relative_to(root / "ppe").parts[0].removesuffix(".py")
        for imported in read_imports(file.read_text(), root):
            other = imported.split("/")[1].removesuffix(".py")
            if "__init__" not in (room, other) and room != other:
                arrows.add((room, other))
                assert ROOMS.index(room) < ROOMS.index(other), f"{file.relative_to(root)} imports {imported}: an arrow back"
    print(f"{len({room for arrow in arrows for room in arrow})} rooms, {len(arrows)} arrows")


def test_few_files_lie_at_the_root_and_every_folder_is_a_room(root):
    assert len(list((root / "ppe").glob("*.py"))) <= ROOT_FILES
    rooms = {path.name for path in (root / "ppe").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(ROOMS)
    tests = {path.name for path in (root / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert tests <= rooms, "tests/ mirrors ppe/"


def test_one_room_opens_params_and_knows_paths_and_one_draws(root):
    for file in sorted((root / "ppe").rglob("*.py")):
        code, room = file.read_text(), file.relative_to(root / "ppe").parts[0]
        assert room == "plots" or not re.search(r"^\s*(import|from) (matplotlib|seaborn)", code, re.M), file
        assert not re.search(r"^\s*(import|from) (papermill|dvc)\b", code, re.M), file


def test_photos_are_listed_and_rows_are_judged_without_torch(root):
    """It takes a second to import, and these are the commands that a person waits for."""
    modules = "ppe.datasets.index, ppe.pipeline.new_study, ppe.evaluation.collection, ppe.claims.verdicts, ppe.claims.tradeoff"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_depends_on_the_rooms_that_its_notebook_reaches(root, stage):
    deps = read_stage(root, stage)["deps"]
    cells = nbformat.read(root / "notebooks" / f"{STAGES[stage]}.ipynb", as_version=4).cells
    reached = follow_imports(root, "\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    if stage != "claims":  # figures elsewhere stay in the executed notebook, and no number depends on them
        reached = {file for file in reached if not file.startswith("ppe/plots/")}
    check_dependencies(root, {dep for dep in deps if dep.startswith("ppe/")}, reached)
    assert f"sources/{STAGES[stage]}.py" in deps


@pytest.mark.parametrize("stage", ["train-experiment", "embed-experiment", "collect"])
def test_a_stage_without_a_notebook_depends_on_the_rooms_that_its_command_reaches(root, stage):
    code = ast.parse((root / "ppe" / "pipeline" / "stages.py").read_text())
    functions = {node.name: node for node in code.body if isinstance(node, ast.FunctionDef)}
    command = functions[stage.replace("-", "_")]
    called = {node.id for node in ast.walk(command) if isinstance(node, ast.Name) and node.id in functions}
    reached = follow_imports(root, "\n".join(ast.unparse(functions[name]) for name in sorted({command.name, *called})))
    check_dependencies(root, {dep for dep in read_stage(root, stage)["deps"] if dep.startswith("ppe/")}, reached)


def test_every_stage_that_reads_params_lists_sections_that_exist(root):
    params = yaml.safe_load((root / "params.yaml").read_text())
    for stage in yaml.safe_load((root / "dvc.yaml").read_text())["stages"]:
        for name in read_stage(root, stage).get("params", []):
            assert name.split(".")[0] in params, (stage, name)


def test_the_graph_is_short(root):
    assert len((root / "dvc.yaml").read_text().splitlines()) <= 200
