"""Released weights: from the hub, from the hub's cache on this machine, or from a folder that the config names (`path`).

Without a network (HF_HUB_OFFLINE=1, or a hub that does not answer) only the cache is read, and the hub is never asked.
"""

import logging
import shutil
from pathlib import Path

from selfdistill.records.file_lists import content_hash, write_file_list
from selfdistill.records.files import link_or_copy, read_json
from selfdistill.records.pins import OtherPin, is_commit, pin, pin_of
from selfdistill.records.task import Facts
from selfdistill.study.models import HubBase

logger = logging.getLogger(__name__)


class BaseMissing(RuntimeError):
    """Weights that are not on this machine, or not all of them; the message names where they were looked for."""


def fetch_weights(spec: HubBase, output: Path, staging: Path) -> Facts:
    """Write the folder of a base; an interrupted download is resumed.

    staging: a folder that survives a failed job; files in it are not fetched again. Snakemake deletes the output of a
    failed job, so the weights are moved there only when they are complete.
    """
    commit, folder = locate(spec)
    target = staging / (commit or "copy")
    if folder is None:
        download(spec.repo_id, commit, target)
    else:
        copy_folder(folder, target)
    check_weights_folder(target)
    hold(spec, commit)
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_file_list(target)
    shutil.move(target, output)
    origin = {"path": spec.path, "sha256": content_hash(output)} if spec.path else {}
    return {"repo_id": spec.repo_id, "commit": commit, **origin}


def name_of(spec: HubBase) -> str:
    """Return the name of a base in the lock file."""
    return f"{spec.repo_id}@{spec.revision}"


def wanted(spec: HubBase) -> str:
    """Return the revision to take: what the lock file holds the base to, or else the config's."""
    return pin_of(name_of(spec)) or spec.revision


def hold(spec: HubBase, commit: str | None) -> None:
    """Hold the base to a commit. Raise OtherPin if the config or the lock file names another."""
    if commit is None:
        logger.warning("%s: the commit of these weights is not known; the manifest has their hash", spec.path)
    elif not is_commit(spec.revision):
        pin(name_of(spec), commit)
    elif commit != spec.revision:
        raise OtherPin(f"{name_of(spec)}: the weights in {spec.path} are of commit {commit}")


def locate(spec: HubBase) -> tuple[str | None, Path | None]:
    """Return (commit, folder on this machine) of a base; no commit if its folder does not tell, no folder if it must be fetched."""
    import httpx
    from huggingface_hub import HfApi, constants

    if spec.path:
        return named(spec.path)
    revision = wanted(spec)
    if constants.HF_HUB_OFFLINE:
        return cached(spec.repo_id, revision)
    if is_commit(revision):
        return revision, None
    try:
        return HfApi().model_info(spec.repo_id, revision=revision).sha, None
    except (ConnectionError, httpx.TransportError) as error:
        logger.warning("%s: the hub does not answer (%s); looking into its cache", spec.repo_id, error)
        return cached(spec.repo_id, revision)


def named(path: str) -> tuple[str | None, Path]:
    """Return (commit, folder) of a folder that the config names; the commit is known of a snapshot of a hub cache."""
    folder = Path(path).resolve()
    return (folder.name if is_commit(folder.name) else None), folder


def present(spec: HubBase, revision: str) -> tuple[str | None, Path]:
    """Return (commit, folder) of a base without asking the hub. Raise BaseMissing if it is not on this machine, or not whole."""
    commit, folder = named(spec.path) if spec.path else cached(spec.repo_id, revision)
    check_weights_folder(folder)
    return commit, folder


def cached(repo_id: str, revision: str) -> tuple[str, Path]:
    """Return (commit, folder) of a repository in the hub's cache. Raise BaseMissing if it is not there."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo_id, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise BaseMissing(
            f"{repo_id}@{revision}: not in the cache {constants.HF_HUB_CACHE} (HF_HOME), and no network: fetch it where there is one "
            f"(`hf download {repo_id} --revision {revision}`), or name a folder with its files (`path` in config/models.yaml)"
        ) from error
    return folder.name, folder


def download(repo_id: str, commit: str, target: Path) -> None:
    """Fetch a repository at a commit, but for the files that are in `target` already."""
    from huggingface_hub import snapshot_download

    snapshot_download(repo_id, revision=commit, local_dir=target)
    shutil.rmtree(target / ".cache", ignore_errors=True)


def copy_folder(folder: Path, target: Path) -> None:
    """Make `target` a copy of a model folder; the cache's links lead to files elsewhere, so these are linked or copied."""
    check_weights_folder(folder)
    shutil.rmtree(target, ignore_errors=True)
    put = lambda source, goal: link_or_copy(Path(source).resolve(), goal)  # noqa: E731
    shutil.copytree(folder, target, copy_function=put, ignore=shutil.ignore_patterns(".*"))


def check_weights_folder(folder: Path) -> None:
    """Raise BaseMissing if a model folder lacks its configuration or weights; the index of several files names them."""
    from huggingface_hub.constants import CONFIG_NAME, SAFETENSORS_INDEX_FILE

    needed, index = [CONFIG_NAME], folder / SAFETENSORS_INDEX_FILE
    if index.exists():
        needed += sorted(set(read_json(index)["weight_map"].values()))
    missing = [name for name in needed if not (folder / name).exists()]
    if not missing and not [*folder.glob("*.safetensors"), *folder.glob("*.bin")]:
        missing = ["*.safetensors"]
    if missing:
        raise BaseMissing(f"{folder}: no model folder, or an incomplete one: {', '.join(missing)} missing")
