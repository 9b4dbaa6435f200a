"""Who may import whom: data flows one way through the packages, and each is entered by its face alone."""

import ast
import functools
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[1] / "python"
# A package imports from earlier rows and, within a row, from no other package.
LAYERS = (
    ("errors",),
    ("config", "storage", "runtime"),
    ("output", "corpus"),
    ("nn", "runs"),
    ("encoders", "tokens", "els"),
    ("sampling",),
    ("evaluation", "inspection"),
    ("tracing", "studies"),
    ("reports",),
    ("npgen",),
    ("npgen_bench",),
    ("cli",),
    ("npgen_command",),
    ("__main__",),
)
LAYER = {name: row for row, names in enumerate(LAYERS) for name in names}
FILES = sorted(PYTHON.rglob("*.py"))
MODULES = {".".join(path.relative_to(PYTHON).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def room(module: str) -> str:
    """Name the package that a module belongs to; modules at the top of npgen are rooms of their own."""
    parts = module.split(".")
    return parts[1] if parts[0] == "npgen" and len(parts) > 1 else parts[0]


def imports(module: str) -> list[tuple[int, str, str | None]]:
    """List the project's own modules that a module imports, anywhere in it: line, module, name."""
    found = []
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            found += [(node.lineno, node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, None) for alias in node.names]
    return [one for one in found if one[1].split(".")[0] in ("npgen", "npgen_bench", "npgen_command")]


def face(package: str) -> list[str]:
    """List the names in `__all__` of a package."""
    tree = ast.parse(MODULES[package].read_text(encoding="utf-8"))
    (names,) = (ast.literal_eval(node.value) for node in tree.body if ast.unparse(node).startswith("__all__ ="))
    return names


@functools.cache
def loads_torch(module: str) -> bool:
    """Tell whether importing a module imports torch or matplotlib, by itself or by a module that it imports."""
    seen, left = {module}, [module]
    while left:
        for node in ast.parse(MODULES[left.pop()].read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            if any(name.split(".")[0] in ("torch", "torchvision", "matplotlib") for name in names):
                return True
            left += [name for name in names if name in MODULES and name not in seen]
            seen.update(names)
    return False


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_import_runs_against_the_flow_or_past_a_face(module):
    own = room(module)
    for line, imported, name in imports(module):
        where = f"{module}:{line}: {imported}" + (f" import {name}" if name else "")
        if imported == "npgen._core" and name is None:
            continue
        other = room(imported)
        if other == own:
            continue
        assert LAYER[other] < LAYER[own], f"{where} runs against the flow"
        if imported == "npgen":
            assert name is None or name in face("npgen"), f"{where} is not in npgen.__all__"
            continue
        depth = 1 if imported.split(".")[0] != "npgen" else 2
        assert name is not None and imported.count(".") < depth, f"{where} reaches past a face"
        if imported in ("npgen.config", "npgen.errors"):
            continue
        # Modules that import torch at the top are in no face: they are imported whole, as a rule inside a function.
        submodule = f"{imported}.{name}"
        known = name in face(imported) or (submodule in MODULES and loads_torch(submodule))
        assert known, f"{where} is not in {imported}.__all__"


def test_no_circle():
    # Inside a package modules form no circle; between packages the layers see to that.
    edges = {
        module: {other for _, name, what in imports(module) for other in targets(name, what)} for module in MODULES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(edges[module]):
                if room(other) == room(module) and not is_face(other):
                    visit(other, (*path, module))
            done.add(module)

    for module in sorted(MODULES):
        if not is_face(module):
            visit(module, ())


def targets(module: str, name: str | None) -> list[str]:
    """List the modules of this project that an import statement names."""
    return [one for one in (f"{module}.{name}", module) if one in MODULES][:1]


def is_face(module: str) -> bool:
    """Tell whether a module is a package's `__init__.py`."""
    return MODULES[module].name == "__init__.py"


@pytest.mark.parametrize("package", sorted(name for name in MODULES if is_face(name) and name.startswith("npgen.")))
def test_a_face_is_light_and_lists_what_it_offers(package):
    if package not in ("npgen.tracing", "npgen.cli"):  # figures, for which matplotlib is what they are made of
        assert not loads_torch(package), f"{package} imports torch or matplotlib"
    assert len(set(face(package))) == len(face(package))


def test_the_top_of_the_package_holds_nothing_else():
    files = {
        path.name for path in (PYTHON / "npgen").iterdir() if path.is_file() and not path.name.startswith("_core.")
    }
    assert files == {"__init__.py", "__main__.py", "py.typed", "errors.py"}


def test_no_file_is_longer_than_400_lines():
    root = PYTHON.parent
    sources = [path for top in ("python", "rust", "tests", "scripts", "benches") for path in (root / top).rglob("*.*")]
    long = {
        str(path.relative_to(root)): length
        for path in sources
        if path.suffix in (".py", ".rs", ".js", ".pyi")
        and (length := path.read_text(encoding="utf-8").count("\n")) > 400
    }
    assert not long
