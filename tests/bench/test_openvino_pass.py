"""A packed pass as one OpenVINO graph gives the logits of the model that it was made from."""

import pytest
import torch

pytest.importorskip("openvino", reason='needs pip install "self-ensemble[bench]"')

from benchmarks.openvino_pass import Passes, main


def test_the_graph_gives_the_models_logits_pass_after_pass(tiny_model):
    model = tiny_model("llama", 6, 2)
    ids = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])
    passes = Passes(model, "f32")
    for _ in range(2):  # again when it has forgotten everything
        passes.restart()
        for start, end in ((0, 3), (3, 4), (4, 6)):
            logits, _ = passes.feed(ids[:, start:end])
            expected = model(input_ids=ids[:, :end]).logits[:, -1]
            torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_timed_is_refused_in_one_line(capsys):
    assert main(["f32", "avgg"]) == 2
    assert capsys.readouterr().err.startswith("Error: Unknown method 'avgg'.")
