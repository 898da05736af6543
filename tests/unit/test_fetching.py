"""A download that breaks off goes on where it was."""

from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from selfdistill.models.run import fetch_weights
from selfdistill.study.models import HubBase

FILES = ("config.json", "tokenizer.json", "model-1.safetensors", "model-2.safetensors")
SPEC = HubBase(source="hub", repo_id="owner/name", revision="main", template="r1")


@pytest.fixture
def hub(monkeypatch):
    """A hub that fetches what a folder lacks; `breaks_at` files it breaks off once."""
    state = SimpleNamespace(fetched=[], breaks_at=2)

    def download(repo_id, revision, local_dir):
        local_dir.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if not (local_dir / name).exists():
                if len(state.fetched) == state.breaks_at:
                    state.breaks_at = None
                    raise ConnectionError("connection reset")
                (local_dir / name).write_text(f"{name} of {revision}")
                state.fetched.append(name)

    api = SimpleNamespace(model_info=lambda repo_id, revision: SimpleNamespace(sha="c0ffee"))
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return state


def test_a_download_that_breaks_off_is_continued(tmp_path, hub):
    output, staging = tmp_path / "bases" / "model", tmp_path / "resume"
    with pytest.raises(ConnectionError):
        fetch_weights(SPEC, output, staging)
    assert not output.exists(), "nothing for Snakemake to delete"
    output.mkdir(parents=True)
    (output / "left.over").touch()
    assert fetch_weights(SPEC, output, staging) == {"repo_id": "owner/name", "commit": "c0ffee"}
    assert hub.fetched == list(FILES), "each file once"
    assert {path.name for path in Path(output).iterdir()} >= set(FILES)
    assert not (output / "left.over").exists()
