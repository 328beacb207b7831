"""The rivals answer what they say they do, and count what they do."""

from dataclasses import replace

import pytest
import torch
from test_fixed_work import answered

from benchmarks.line_up import RIVALS, make_rivals
from benchmarks.published import prompt_mask
from benchmarks.work import FUSED, Walk, demo_work, model_as_it_was
from self_ensemble.asking.request import Request, Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.packed_linear import PackedLinear
from self_ensemble.prompts.build import plain_frame
from self_ensemble.questions.schema import Framing


def walks_of(work, name):
    (rival,) = make_rivals(work, [name], published_questions=2)
    with model_as_it_was(work.loaded):
        return answered(rival, work.max_new_tokens)


def dense_recompute(work, prompts):
    """Greedy tokens of the published sequence, its mask filled by loops, eager attention."""
    loaded, generated = work.loaded, []
    owners = [index for index, prompt in enumerate(prompts) for _ in prompt]
    with model_as_it_was(loaded), torch.inference_mode():
        loaded.model.set_attn_implementation("eager")
        for _ in range(work.max_new_tokens):
            tokens = [token for prompt in prompts for token in prompt] + generated
            mask = torch.full((1, 1, len(tokens), len(tokens)), torch.finfo(torch.float32).min)
            for q in range(len(tokens)):
                for k in range(q + 1):
                    if q >= len(owners) or (k < len(owners) and owners[q] == owners[k]):
                        mask[0, 0, q, k] = 0.0
            logits = loaded.model(
                input_ids=torch.tensor([tokens]), attention_mask=mask,
                position_ids=torch.arange(len(tokens))[None], use_cache=False,
            ).logits  # fmt: skip
            generated.append(int(logits[0, -1].argmax()))
    return tuple(generated)


def test_the_published_loop_equals_a_dense_recompute_of_its_description(work):
    for parts, (walk,) in zip(work.parts, walks_of(work, "published"), strict=False):
        prompts = [parts.alone(index) for index in range(3)]
        assert walk == Walk(FUSED, dense_recompute(work, prompts))


def test_the_published_loop_equals_our_contiguous_last_segment_without_a_shared_prefix(work):
    frame = plain_frame(work.frame.tokenizer, "", (), Framing("{}", work.frame.cue_text))
    prefix = " ".join(map(str, work.frame.prefix))
    ensemble = Ensemble(
        work.loaded, "flex_attention", frame=frame,
        settings=Settings(
            max_new_tokens=work.max_new_tokens, stop=(), positions="contiguous",
            fusion_point="last_segment", segment_weights="none",
        ),
    )  # fmt: skip
    wordings = [[f"{prefix} {text}" for text in question] for question in work.wordings[:2]]
    with model_as_it_was(work.loaded):
        found = ensemble.run([Request(str(n), tuple(q)) for n, q in enumerate(wordings)])
    ours = [answer.token_ids for answer in found["flex_attention"]]
    assert [walk.token_ids for (walk,) in walks_of(work, "published")] == ours


def test_the_mask_of_the_published_loop_is_causal_inside_each_prompt():
    owner = torch.tensor([0, 0, 1, 1, 2])
    assert prompt_mask(owner, 2, None).int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    assert prompt_mask(owner, 2, window=2)[4].int().tolist() == [0, 0, 0, 1, 1]


def test_generate_one_equals_origin(work):
    assert walks_of(work, "generate_one") == walks_of(work, "origin")


def test_generate_five_equals_per_prompt(work):
    assert walks_of(work, "generate_five") == walks_of(work, "per_prompt")


def test_causal_concat_equals_our_engine_where_every_wording_reads_the_earlier_ones(talking):
    work = demo_work(talking, num_questions=4, num_wordings=3, num_shots=1, max_new_tokens=6)
    pairs = tuple((reader, read) for reader in range(3) for read in range(reader))
    ensemble = Ensemble(
        work.loaded, "flex_attention", frame=work.frame,
        settings=Settings(
            max_new_tokens=6, stop=(), positions="contiguous", segment_weights="none",
        ),
    )  # fmt: skip
    with model_as_it_was(work.loaded):
        found = ensemble.run(
            [Request(str(n), wordings, readable=pairs) for n, wordings in enumerate(work.wordings)]
        )
    ours = [Walk(FUSED, answer.token_ids) for answer in found["flex_attention"]]
    ending = work.ending_early(())
    assert [walk for (walk,) in walks_of(ending, "causal_concat")] == ours


@pytest.mark.parametrize(
    ("theirs", "mine"), [("generate_one", "origin"), ("generate_five", "per_prompt")]
)
def test_padding_on_the_left_changes_no_answer_of_generate(talking, theirs, mine):
    # Bundled questions and their wordings have different lengths; random ones have not.
    work = demo_work(talking, num_questions=4, num_wordings=3, num_shots=1, max_new_tokens=6)
    assert len({len(parts.alone(0)) for parts in work.parts}) > 1
    assert walks_of(work, theirs) == walks_of(work, mine)


def test_the_published_loop_differs_from_our_fusion_point(work):
    # The first token comes from the last wording alone there; or the tests above compare nothing.
    assert walks_of(work, "published") != walks_of(work, "flex_attention")[:2]


@pytest.mark.parametrize("name", [*RIVALS, "origin"])
def test_counted_tokens_are_those_that_reach_the_embedding(work, name):
    (rival,) = make_rivals(work, [name], published_questions=2)
    seen = []
    with model_as_it_was(work.loaded):
        answered(rival, work.max_new_tokens)
        before = rival.num_tokens()
        hook = work.loaded.model.get_input_embeddings().register_forward_hook(
            lambda module, inputs, output: seen.append(inputs[0].numel())
        )
        if rival.encode_prefix is not None:
            rival.encode_prefix()
        answered(rival, work.max_new_tokens)
        hook.remove()
    assert rival.num_tokens() - before == sum(seen)


def test_an_unknown_rival_is_refused(work):
    with pytest.raises(UserError, match=r"Unknown rival 'generat_one'\. Did you mean"):
        make_rivals(work, ["generat_one"])


def test_ours_runs_on_packed_layers_and_the_rivals_on_plain_ones(work):
    model = work.loaded.model
    ours, theirs = make_rivals(work, ["flex_attention", "generate_one"])
    with model_as_it_was(work.loaded):
        weights = dict(model.named_parameters())
        for rival, layer in (
            (ours, PackedLinear),
            (theirs, torch.nn.Linear),
            (ours, PackedLinear),
        ):
            rival.prepare()
            assert type(model.lm_head) is layer
            assert type(model.model.layers[0].mlp.up_proj) is layer
    after = dict(model.named_parameters())
    assert all(after[name] is weight for name, weight in weights.items())
    assert after.keys() == weights.keys()


def test_ours_runs_on_plain_layers_where_asked_to(work):
    (rival,) = make_rivals(replace(work, packs_layers=False), ["flex_attention"])
    rival.prepare()
    assert type(work.loaded.model.lm_head) is torch.nn.Linear
