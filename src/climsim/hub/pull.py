"""Downloading: a model with its card, or a store, whole or not at all."""

from __future__ import annotations

import fnmatch
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.hf_api import RepoFile

from climsim.data.raw.hub import RemoteFile, hub_errors, require_inside, same_content
from climsim.data.store.opened import STORE, open_store
from climsim.errors import ClimSimError
from climsim.files import atomic_path, remove
from climsim.hub.config import KINDS, PullConfig
from climsim.hub.push import CARD, MODEL
from climsim.products import Kind, claim
from climsim.stage import Progress

logger = logging.getLogger(__name__)
_OF_HUB = (".gitattributes", CARD)
"""Files of the Hub that are no part of a store."""
PULLED_MODEL = Kind(
    "a model from the Hub", lambda path: any(path.glob(f"{MODEL}.*")), is_folder=True
)


def pull(config: PullConfig, progress: Progress | None = None) -> Path:
    """Download a model or a store; an interrupted download is continued.

    Every file is compared with the size and the SHA-256 that the Hub names, and a store with its
    own checksums. The file of a model is not run: `climsim.load_emulator` does that.

    Args:
        config: what, and where to.
        progress: called with (bytes done, bytes in all).

    Returns:
        The folder.

    Raises:
        ClimSimError: if there is no such repository, it holds something else, or a file is not what
            the Hub announces; if the folder is the present one or one above it.
    """
    _refuse_present(config.out)
    kind = STORE if config.kind == "store" else PULLED_MODEL
    claim(config.out, kind)
    wanted = _listed(config)
    folder = config.out.with_name(f"{config.out.name}.pulling")
    folder.mkdir(parents=True, exist_ok=True)
    done, total = 0, sum(file.size for file in wanted)
    with ThreadPoolExecutor(config.workers) as pool:
        for file in pool.map(lambda f: _fetch(f, folder, config), wanted):
            done += file.size
            if progress is not None:
                progress(done, total)
    remove(folder / ".cache")
    # The download that broke off may have been of another repository or revision.
    names = {file.path for file in wanted}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in names:
            remove(path)
    if config.kind == "store":
        open_store(folder)
    with atomic_path(config.out) as temporary:
        folder.rename(temporary)
    return config.out


def _refuse_present(out: Path) -> None:
    """Refuse the folder that the command runs in: what is complete takes the place of a folder."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise ClimSimError(
            f"out={out}: expected a new folder, which gets its name when the download is whole, "
            "found the present one or one above it: give the name of one, as in out=NAME"
        )


def _listed(config: PullConfig) -> list[RemoteFile]:
    api = HfApi(endpoint=config.endpoint or None)
    with hub_errors(config.repo, config.endpoint, config.revision):
        entries = list(
            api.list_repo_tree(
                config.repo,
                recursive=True,
                revision=config.revision,
                repo_type=KINDS[config.kind],
            )
        )
    found = [entry for entry in entries if isinstance(entry, RepoFile)]
    require_inside(config.repo, [entry.path for entry in found])
    if config.kind == "store":
        found = [entry for entry in found if entry.path not in _OF_HUB]
    needed = f"{MODEL}.*" if config.kind == "model" else "zarr.json"
    if not fnmatch.filter([entry.path for entry in found], needed):
        raise ClimSimError(
            f"repo={config.repo}: expected a {config.kind} that `climsim hub push` uploaded, found "
            f"no {needed}: is it another kind (kind=)?"
        )
    return [RemoteFile(f.path, f.size, f.lfs.sha256 if f.lfs else "") for f in found]


def _fetch(file: RemoteFile, folder: Path, config: PullConfig) -> RemoteFile:
    target = folder / file.path
    if target.is_file() and file.sha256 and same_content(target, file):
        return file
    with hub_errors(config.repo, config.endpoint, file.path):
        hf_hub_download(
            config.repo,
            file.path,
            repo_type=KINDS[config.kind],
            revision=config.revision,
            local_dir=folder,
            endpoint=config.endpoint or None,
        )
    if not same_content(target, file):
        remove(target)
        raise ClimSimError(
            f"{target}: its content is not what {config.repo} announces (size or SHA-256): run the "
            "same command again, which continues"
        )
    return file
