"""Files that a command writes: what can't be written is said before anything is run, and never costs a finding."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

from ..adapters.cli.exits import UsageError
from ..adapters.cli.terminal import Terminal


def require_writable(*names: str | None) -> None:
    """These files can be written, as far as anybody can tell now. Leaves nothing behind. Raises UsageError."""
    for name in filter(None, names):
        path = Path(name)
        try:
            if path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            if path.exists():
                path.open("ab").close()
            else:
                _require_folder(path.parent)
        except OSError as error:
            raise _refused(path, error) from error


def require_folder(name: str) -> None:
    """Files can be made in this folder, which need not exist yet. Leaves nothing behind. Raises UsageError."""
    try:
        _require_folder(Path(name))
    except OSError as error:
        raise _refused(Path(name), error) from error


def save(files: Iterable[tuple[Path, str]], terminal: Terminal) -> bool:
    """Write them, and their folders; whether all of it was done. What was not is told, and no more."""
    done = True
    for path, text in files:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            terminal.error(f"{path} can't be written: {error.strerror}.")
            done = False
    return done


def _require_folder(folder: Path) -> None:
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(0, f"{folder} is no folder")
    TemporaryFile(dir=folder).close()


def _refused(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} can't be written: {error.strerror}. Nothing was run.")
