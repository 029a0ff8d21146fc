"""What is installed is what is tracked: the links, the wheel, the sdist, the command, the version."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LAYERS: Final = ("domain", "infrastructure", "adapters", "simulations")
ROOT_FILES: Final = ("__init__.py", "__main__.py", "py.typed")
BUILD_SECONDS_MAX: Final = 120


class Built(NamedTuple):
    tracked: frozenset[str]
    copy: Path
    wheel: Path
    sdist: Path


def tracked_files() -> frozenset[str]:
    """The files git has or would take: with uncommitted work about, the test speaks of what comes next."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return frozenset(name for name in listed.stdout.split("\0") if name and (ROOT / name).exists())


def in_the_package(names: frozenset[str]) -> set[str]:
    return {name for name in names if name in ROOT_FILES or name.split("/")[0] in LAYERS}


def build(source: Path, target: str, into: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(into)],
        cwd=source,
        check=True,
        timeout=BUILD_SECONDS_MAX,
    )
    (result,) = into.iterdir()
    return result


def wheel_files(wheel: Path) -> set[str]:
    """The files of the package, named as in the repository."""
    with zipfile.ZipFile(wheel) as archive:
        return {name.removeprefix("reattach/") for name in archive.namelist() if name.startswith("reattach/")}


def run_away_from_the_checkout(code: str, built: Built, folder: Path) -> str:
    """Run Python in an empty folder with nothing of ours but the unpacked wheel."""
    empty, unpacked = folder / "empty", folder / "unpacked"
    empty.mkdir()
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(unpacked)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import reattach; print(reattach.__file__)\n{code}"],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, _, rest = done.stdout.partition("\n")
    assert Path(first) == unpacked / "reattach" / "__init__.py"
    return rest


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("build")
    copy, tracked = folder / "copy", tracked_files()
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    return Built(
        tracked,
        copy,
        build(copy, "wheel", folder / "wheel"),
        build(copy, "sdist", folder / "sdist"),
    )


def test_the_links_show_the_real_files() -> None:
    links = {path.name: path for path in (ROOT / ".src" / "reattach").iterdir() if path.name != "__pycache__"}
    assert set(links) == {*LAYERS, *ROOT_FILES}
    for name, link in links.items():
        assert link.is_symlink()
        assert not link.readlink().is_absolute()
        assert link.resolve(strict=True) == ROOT.resolve() / name


def test_the_wheel_holds_exactly_the_tracked_files(built: Built) -> None:
    assert wheel_files(built.wheel) == in_the_package(built.tracked)


def test_migrations_and_pages_are_tracked_like_code(built: Built) -> None:
    ignored = {
        path.relative_to(ROOT).as_posix()
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - built.tracked
    assert ignored == set()


def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    # Not `tarfile`: Debian 12's Python lacks the filter that newer ones insist on.
    subprocess.run(["tar", "--extract", "--file", built.sdist, "--directory", tmp_path], check=True)
    (unpacked,) = tmp_path.iterdir()
    wanted = {name for name in built.tracked if name.split("/")[0] in {*LAYERS, *ROOT_FILES, "tests", "docs"}}
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert wanted - held == set()
    assert wheel_files(build(unpacked, "wheel", tmp_path / "wheel")) == wheel_files(built.wheel)


def test_an_editable_install_copies_nothing(built: Built, tmp_path: Path) -> None:
    # A copied __init__.py would hide the links behind it, and with them every folder.
    assert wheel_files(build(built.copy, "wheel:editable", tmp_path)) == set()


def test_the_wheel_imports_from_an_empty_folder(built: Built, tmp_path: Path) -> None:
    modules = ", ".join(f"reattach.{layer}" for layer in LAYERS)
    run_away_from_the_checkout(f"import {modules}", built, tmp_path)


def test_the_command_resolves(built: Built, tmp_path: Path) -> None:
    value = PROJECT["scripts"]["reattach"]
    code = f"import importlib.metadata as m; print(callable(m.EntryPoint('reattach', {value!r}, 'x').load()))"
    assert run_away_from_the_checkout(code, built, tmp_path) == "True\n"
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
        assert f"reattach = {value}" in archive.read(name).decode()


def test_the_changelog_opens_with_this_version() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == PROJECT["version"]


def test_every_dependency_has_one_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [re.fullmatch(r"([a-z0-9-]+)==[0-9][a-z0-9.]*", line) for line in lines]
    assert [line for line, pin in zip(lines, pinned, strict=True) if pin is None] == []
    names = [pin[1] for pin in pinned if pin]
    assert names == sorted(set(names))
    asked = [*PROJECT["dependencies"], *(name for extra in PROJECT["optional-dependencies"].values() for name in extra)]
    direct = {re.split(r"[^a-z0-9-]", name)[0] for name in asked} - {PROJECT["name"]}
    assert direct - set(names) == set()
