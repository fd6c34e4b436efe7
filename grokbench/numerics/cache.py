"""Where torch keeps what it has compiled: in a folder that outlives the process, and that nobody else can write.

In a container there may be no home, no entry for the user, and no place to write but the temporary folder.
"""

from __future__ import annotations

import functools
import os
import stat
import tempfile
from pathlib import Path

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@functools.cache
def folder() -> Path | None:
    """The user's choice, the cache of the home, or a folder in the temporary one; None if none can be written."""
    chosen, caches = os.environ.get(VARIABLE), os.environ.get("XDG_CACHE_HOME")
    places = [chosen and Path(chosen), Path(caches, "grokbench") if caches else _home()]
    return next((place for place in places if place and _writable(place)), None) or _temporary()


def _home() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry for this user
        return None
    return home / ".cache" / "grokbench" if home.is_dir() else None


def _temporary() -> Path | None:
    """Ours alone, since what lies there is run, and everybody may write beside it."""
    try:
        place = Path(tempfile.gettempdir(), f"grokbench-{os.getuid()}")
        if not _writable(place):
            return None
        found = place.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
        return place if ours else Path(tempfile.mkdtemp(prefix="grokbench-"))
    except OSError:  # there is no place for temporary files
        return None


def _writable(place: Path) -> bool:
    """Whether files can be made there."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False
