"""Against a hub of our own: an HTTP server on this machine that serves one model."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from huggingface_hub import constants

from self_ensemble.errors import UserError
from self_ensemble.models import hub
from self_ensemble.models.load import load_model
from self_ensemble.questions.hub import load_split
from self_ensemble.questions.network import hub_if_reachable

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server serves and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    error: tuple[int, str] | None = None
    breaks_off: str = ""
    fetched: list[str] = field(default_factory=list)


def handler(state: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlparse(self.path).path
            if state.error is not None:
                code, name = state.error
                self.answer(code, b"", {"X-Error-Code": name})
            elif path.startswith("/api/"):
                value = listing(state) if "/tree/" in path else {"id": "tiny/llama", "sha": COMMIT}
                self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})
            else:
                name = path.removeprefix(f"/tiny/llama/resolve/{COMMIT}/")
                if self.command == "GET":
                    state.fetched.append(name)
                    if name == state.breaks_off:
                        self.connection.close()
                        return
                etag = f'"{oid(state.files[name])}"'
                self.answer(200, state.files[name], {"ETag": etag, "X-Repo-Commit": COMMIT})

        do_HEAD = do_GET  # noqa: N815

        def answer(self, code: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def listing(state: Hub) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": name, "size": len(data), "oid": oid(data)}
        for name, data in state.files.items()
    ]


def oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def served(tmp_path, monkeypatch) -> Iterator[Hub]:
    state = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(state)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def tiny_llama(served, tiny_model, tiny_tokenizer, tmp_path):
    """The served model, which the hub also has as pickles and in a subfolder."""
    folder: Path = tmp_path / "original"
    model = tiny_model("llama")
    model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    served.files.update({path.name: path.read_bytes() for path in folder.iterdir()})
    served.files["pytorch_model.bin"] = b"a pickle"
    served.files["onnx/model.safetensors"] = b"another format"
    served.files["modeling_mine.py"] = b"raise SystemExit"
    return model


def test_a_model_from_the_hub_computes_what_was_uploaded(tiny_llama):
    loaded = load_model("tiny/llama", device="cpu", packed=False)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded.model(input_ids=ids).logits, tiny_llama(input_ids=ids).logits)
    assert loaded.revision == COMMIT
    assert loaded.name == "tiny--llama"


def test_no_pickle_no_code_and_no_other_format_is_downloaded(tiny_llama, served):
    load_model("tiny/llama", device="cpu")
    assert sorted(served.fetched) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_an_unsupported_model_is_refused_before_its_weights_are_downloaded(tiny_llama, served):
    config = json.loads(served.files["config.json"]) | {"model_type": "mamba"}
    served.files["config.json"] = json.dumps(config).encode()
    with pytest.raises(UserError, match="'mamba' is not supported"):
        load_model("tiny/llama", device="cpu")
    assert "model.safetensors" not in served.fetched


def test_a_model_with_pickles_only_is_refused(tiny_llama, served):
    del served.files["model.safetensors"]
    with pytest.raises(UserError, match=r"'tiny--llama' has no .safetensors weights"):
        load_model("tiny/llama", device="cpu")


def test_a_download_that_is_not_watched_says_only_what_is_fetched(tiny_llama, capfd):
    capfd.readouterr()
    load_model("tiny/llama", device="cpu")
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split(" on ")[0] for line in err.splitlines()] == [
        f"Looking for tiny/llama ({', '.join(kind)})" for kind in (hub.SETTINGS, hub.WEIGHTS)
    ]


def test_without_a_network_a_minute_of_retries_is_spared_and_the_cache_is_read(
    tiny_llama, served, monkeypatch
):
    load_model("tiny/llama", device="cpu")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    served.fetched.clear()
    started = time.monotonic()
    with hub_if_reachable("tiny/llama"):
        assert constants.HF_HUB_OFFLINE
        with pytest.raises(UserError, match="Check the connection, or give a local copy"):
            load_split("owner/data", "train")
    assert not constants.HF_HUB_OFFLINE
    assert load_model("tiny/llama", device="cpu").revision == COMMIT
    assert served.fetched == []
    with pytest.raises(UserError, match="cannot be reached for model 'owner/name'"):
        load_model("owner/name", device="cpu")
    assert time.monotonic() - started < 20


def test_a_downloaded_model_loads_without_the_hub(tiny_llama, served):
    load_model("tiny/llama", device="cpu")
    served.error = (503, "")
    assert load_model("tiny/llama", device="cpu").revision == COMMIT


def test_a_download_that_breaks_off_is_one_line(tiny_llama, served):
    served.breaks_off = "model.safetensors"
    with pytest.raises(
        UserError, match=r"did not deliver model 'tiny/llama' \(.*Try again"
    ) as caught:
        load_model("tiny/llama", device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ((403, "GatedRepo"), r"'tiny/llama' is gated.*https://huggingface.co/tiny/llama"),
        ((401, "RepoNotFound"), r"The hub has no model 'tiny/llama'"),
        ((404, "RepoNotFound"), r"The hub has no model 'tiny/llama'"),
        ((404, "RevisionNotFound"), r"'tiny/llama' has no revision 'v9' on the hub"),
        ((400, "Other"), r"The hub cannot be reached for model 'tiny/llama'"),
    ],
)
def test_what_the_hub_refuses_is_one_line(served, error, message):
    served.error = error
    with pytest.raises(UserError, match=message) as caught:
        load_model("tiny/llama", revision="v9")
    assert "\n" not in str(caught.value)
    if error[1] != "RevisionNotFound":
        assert "a local folder" in str(caught.value)


def test_a_hub_that_cannot_be_reached_names_the_local_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be reached.*give a local folder or .gguf file"):
        load_model("tiny/llama")


def test_a_malformed_hub_id_is_refused():
    with pytest.raises(UserError, match="'two words/llama' is no hub id"):
        hub.fetch("two words/llama", None, hub.SETTINGS)
