"""The examples of docs/tour.md and docs/serve.md, as they stand, with the real model behind."""

import json
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

from self_ensemble import Ensemble, load_model
from self_ensemble.asking.methods import resolve_methods

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.fixture(scope="module")
def smollm2(start_once):
    model = load_model("smollm2_135m_it")
    with start_once(Ensemble(model, resolve_methods(["all"], has_weights=True))) as found:
        yield found


def blocks(file, word):
    found = re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(), flags=re.DOTALL)
    return [block for block in found if word in block]


@pytest.mark.parametrize("file", ["docs/tour.md", "docs/serve.md"])
def test_the_examples_with_openais_client_run(smollm2, file, capsys):
    (block,) = blocks(file, "import OpenAI")
    exec(block.replace("http://127.0.0.1:8000", smollm2.url), {})
    assert "Paris" in capsys.readouterr().out


@pytest.mark.parametrize(("package", "word"), [("langchain_openai", "ChatOpenAI"),
                                              ("litellm", "import litellm")])  # fmt: skip
def test_the_examples_of_other_clients_run(smollm2, package, word, capsys):
    # Warns of its own code as it is imported.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(package, reason=f"needs {package}")
        (block,) = blocks("docs/serve.md", word)
        exec(block.replace("http://127.0.0.1:8000", smollm2.url), {})
    assert "Paris" in capsys.readouterr().out


def test_the_example_of_promptfoo_runs(smollm2, tmp_path):
    command = os.environ.get("PROMPTFOO") or shutil.which("promptfoo")
    if command is None:
        pytest.skip("needs promptfoo (npm install promptfoo), on the path or in PROMPTFOO")
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/serve.md").read_text(), re.DOTALL)
    file = tmp_path / "promptfoo.yaml"
    file.write_text(text.replace("http://127.0.0.1:8000", smollm2.url))
    quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1",
             "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1", "PROMPTFOO_CONFIG_DIR": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [command, "eval", "-c", str(file), "-o", str(tmp_path / "out.json"), "--no-cache"],
        env={**os.environ, **quiet}, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out.json").read_text())["results"]["stats"]
    assert (found["successes"], found["failures"], found["errors"]) == (2, 0, 0)


def test_the_example_of_an_own_application_runs():
    (block,) = blocks("docs/serve.md", "create_app")
    names = {}
    exec(block, names)
    try:
        assert {route.path for route in names["app"].routes} >= {"/v1/models", "/healthz"}
    finally:
        names["app"].state.service.close()


def test_wordings_are_made_where_they_are_asked_for(smollm2):
    asked = {
        "model": "smollm2_135m_it",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 12,
        "seed": 1,
        "extra_body": {"paraphrase": 2, "method": "vote"},
    }
    one, two = (smollm2.client().chat.completions.create(**asked) for _ in range(2))
    assert one.choices[0].ensemble == two.choices[0].ensemble
    weighted = {"method": "weighted_avg", "weights": [1.0, 0.5, 0.5], "paraphrase": 2}
    three = smollm2.client().chat.completions.create(**{**asked, "extra_body": weighted})
    assert three.choices[0].ensemble["weights"] == [1.0, 0.5, 0.5]
    wordings = [member["wording"] for member in one.choices[0].ensemble["members"]]
    assert wordings[0] == "What is the capital of France?"
    assert len(set(wordings)) == 3
    assert "Paris" in one.choices[0].message.content
