"""Contracts between the graph, the notebooks, the package and the lists of dependencies."""

import ast
import re
import tomllib

import nbformat
import pytest
import yaml

NOTEBOOKS = {
    "faces": "1_faces", "embed": "2_embed", "train": "3_train",
    "generate": "4_generate", "attack": "5_attack", "figures": "6_figures", "claims": "7_claims", "data_share": "8_doses",
}  # fmt: skip
ORDER = [
    "storage", "settings", "paths", "params", "parallel",
    "synthetic", "datasets", "faces", "identities", "experiments", "door", "generators", "sampling",
    "blocks", "embedders", "embeddings", "realism", "distances", "attacks", "metrics", "frechet", "resampling", "intervals",
    "data_shares", "placebos", "discovery", "scoring", "rehearsal", "evaluation", "collection", "costs", "evidence", "dose_claims",
    "claims",
    "summary", "scrutiny", "progress", "figures", "attack_figures", "claim_figures", "dose_figures", "pages", "copies",
    "stages", "__main__",
]  # fmt: skip
NOT_TRACKED = {
    "ppe/__init__.py", "ppe/config/storage.py", "ppe/config/schema.py", "ppe/config/paths.py", "ppe/config/params.py", "ppe/generators/__init__.py",
    "ppe/embedders/__init__.py",
}  # fmt: skip
"""The values of settings.py and params.py are tracked as params, and files by what is in them, wherever they lie; the registries
import by name, so that adding a net makes no run stale."""


def read_imports(code, root):
    """Files of ppe that a piece of code imports directly."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ppe"):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("ppe")}
    files = {name.replace(".", "/") + end for name in names for end in (".py", "/__init__.py")}
    return {name for name in files if (root / name).is_file()}


def read_notebook(root, name):
    return nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)


def list_reached(root, name):
    """Files of ppe that a notebook reaches through imports; a registry reaches every net that it names."""
    cells = read_notebook(root, name).cells
    return follow_imports(root, "\n".join(c.source for c in cells if c.cell_type == "code"))


def follow_imports(root, code):
    todo, reached = read_imports(code, root), set()
    while todo:
        file = todo.pop()
        reached.add(file)
        code = (root / file).read_text()
        found = read_imports(code, root)
        if file.endswith("embedders/__init__.py"):
            found |= {n.replace(".", "/") + ".py" for n in re.findall(r'"(ppe\.embedders\.\w+)"', code)}
        todo |= found - reached
    return reached


@pytest.mark.parametrize("stage", list(NOTEBOOKS))
def test_a_stage_depends_on_every_module_that_its_notebook_reaches(root, stage):
    graph = yaml.safe_load((root / "dvc.yaml").read_text())["stages"][stage]
    deps = set(graph.get("do", graph)["deps"])
    listed = {d for d in deps if d.startswith("ppe/")}
    if "ppe/generators/${item.generator}.py" in listed:
        listed = listed - {"ppe/generators/${item.generator}.py"} | {"ppe/generators/fastgan.py"}
    reached = list_reached(root, NOTEBOOKS[stage]) - NOT_TRACKED
    if stage in ("train", "generate", "attack"):
        reached |= {"ppe/generators/fastgan.py", "ppe/generators/training/stddev.py"}  # through the registry
    assert listed == reached
    assert f"sources/{NOTEBOOKS[stage]}.py" in deps


@pytest.mark.parametrize("stage", ["background", "embed-experiment", "collect"])
def test_a_stage_without_a_notebook_depends_on_every_module_that_its_command_reaches(root, stage):
    graph = yaml.safe_load((root / "dvc.yaml").read_text())["stages"][stage]
    listed = {d for d in graph.get("do", graph)["deps"] if d.startswith("ppe/")}
    functions = {c.name: c for c in ast.parse((root / "ppe" / "stages.py").read_text()).body if isinstance(c, ast.FunctionDef)}
    command = functions[stage.replace("-", "_")]
    called = {node.id for node in ast.walk(command) if isinstance(node, ast.Name) and node.id in functions}
    code = "\n".join(ast.unparse(functions[name]) for name in sorted({command.name, *called}))
    reached = follow_imports(root, code) - NOT_TRACKED
    if stage == "background":
        reached |= {"ppe/generators/${item.generator}.py", "ppe/generators/training/stddev.py"}  # through the registry
    assert listed == reached


def test_every_stage_that_reads_params_lists_sections_that_exist(root):
    params = yaml.safe_load((root / "params.yaml").read_text())
    for stage in yaml.safe_load((root / "dvc.yaml").read_text())["stages"].values():
        for name in stage.get("do", stage).get("params", []):
            assert name.split(".")[0] in params


def test_imports_go_one_way(root):
    for file in sorted((root / "ppe").rglob("*.py")):
        room = file.relative_to(root / "ppe").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for imported in read_imports(file.read_text(), root):
            other = imported.split("/")[1].removesuffix(".py")
            if other != "__init__":
                assert ORDER.index(other) <= ORDER.index(room), f"{file.name} imports {imported}"


@pytest.mark.parametrize("name", NOTEBOOKS.values())
def test_a_notebook_is_prose_with_short_cells_and_no_outputs(root, name):
    book = read_notebook(root, name)
    nbformat.validate(book)
    code = [c for c in book.cells if c.cell_type == "code"]
    assert book.cells[0].cell_type == "markdown" and "**Question.**" in book.cells[0].source
    assert [("parameters" in c.metadata.get("tags", [])) for c in code].index(True) == 0
    assert sum("parameters" in c.metadata.get("tags", []) for c in code) == 1
    for line in code[0].source.splitlines():
        assert re.fullmatch(r'\w+ = "tiny"  # .+', line)
    for cell in code:
        assert not cell.outputs and cell.execution_count is None
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 20
        assert not re.search(r"^\s*(def|class|try)\b|^\s*[!%]|^    .*\n {8,}for ", cell.source, re.M)
    assert len({c["id"] for c in book.cells}) == len(book.cells)


def test_environment_and_constraints_name_what_pyproject_names(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((root / "environment.yml").read_text())
    assert f"python{project['requires-python']}" in environment["dependencies"]
    assert environment["dependencies"][-1] == {"pip": ["-e ."]}, "the packages stand in pyproject.toml alone"
    pinned = {
        re.split(r"[=@ ]", line)[0].lower().replace("_", "-") for line in (root / "constraints.txt").read_text().splitlines()
    }
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    for requirement in wanted:
        assert re.split(r"[<>=]", requirement)[0].lower() in pinned, requirement


def test_every_dependency_has_a_reason(root):
    text = (root / "pyproject.toml").read_text().split("dependencies = [")[1].split("[tool.setuptools]")[0]
    lines = [line for line in text.splitlines() if line.strip().startswith('"')]
    assert len(lines) > 15 and all("  # " in line for line in lines)


def test_every_test_that_the_table_names_exists(root):
    """tests/README.md: what was tried, what happens, and the test that keeps it."""
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`( \(hard\))?", (root / "tests" / "README.md").read_text())
    assert len(named) > 40
    for file, name, hard in named:
        code = (root / "tests" / file).read_text()
        found = re.search(rf"((?:^(?!def |\n).*\n)*)^def {name}[(]", code, re.M)
        assert found, f"{file}::{name}"
        is_hard = "mark.hard" in found[1] or re.search(r"^pytestmark = .*mark\.hard", code, re.M)
        assert bool(is_hard) == bool(hard), f"{file}::{name}: hard or not?"
