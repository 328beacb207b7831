"""The fixed work: which prompts every rival answers, and how long the answers are.

The timed answers all have the same number of tokens, whatever the model says, so that a rival
is not fast because its answers happen to be short. A second work with the same prompts ends
answers as a real run does, at a stop string or an end-of-sequence token.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import NamedTuple

import torch
from transformers import GenerationConfig

from benchmarks.random_models import id_tokenizer
from self_ensemble.asking.methods import AnyMethod
from self_ensemble.asking.request import Request, Settings
from self_ensemble.ensemble import Ensemble
from self_ensemble.errors import UserError
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.packed_linear import can_pack, unpack_linears
from self_ensemble.prompts.build import plain_frame
from self_ensemble.prompts.frame import PromptFrame
from self_ensemble.prompts.parts import PromptParts
from self_ensemble.questions.load import load_questions
from self_ensemble.questions.schema import Framing

FUSED = -1  # number of the stream that reads every wording
PRIOR = -2  # number of the stream that reads no wording: the prompt without the question


class Walk(NamedTuple):
    """An answer as the tokens of one stream.

    Attributes:
        stream: `FUSED`, `PRIOR`, or the index of the wording that is continued.
        token_ids: What was generated after it.
    """

    stream: int
    token_ids: tuple[int, ...]


class Shape(NamedTuple):
    """Lengths of random prompts: prefix P, wordings N, tokens of each S, new tokens T."""

    prefix: int
    num_wordings: int
    segment: int
    new_tokens: int

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Read "P,N,S,T".

        Raises:
            UserError: It is not four whole numbers, or one of them is too small.
        """
        try:
            shape = cls(*(int(number) for number in text.split(",")))
        except (ValueError, TypeError) as error:
            raise _bad_shape(text) from error
        if shape.prefix < 0 or min(shape[1:]) < 1 or max(shape) > MOST:
            raise _bad_shape(text)
        return shape


def _bad_shape(text: str) -> UserError:
    return UserError(
        f"Got shape {text!r}. Give four whole numbers P,N,S,T, for example 300,5,30,20: tokens of "
        "the prefix (0 or more), wordings, tokens of each wording, new tokens (1 or more each); "
        "a million at most.",
        "SE-1101",
    )


# Of anything that is counted out one by one.
MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be answered.

    Attributes:
        name: What it is, for tables.
        loaded: The model, with plain linear layers; its tokenizer reads the wordings.
        frame: The prompt that wordings are put into.
        wordings: The questions: the same number of wordings each, the original first.
        parts: The questions as token ids.
        max_new_tokens: Tokens of every answer; of the longest one if answers end early.
        batch_size: Questions per batch.
        stop: Strings that end an answer; empty in the timed work.
        ends_early: Whether stop strings and end-of-sequence tokens end an answer.
        packs_layers: Whether ours runs on packed linear layers, as it does by default, where
            that can be done; the others run on plain ones.
        decode: How ours decodes.
    """

    name: str
    loaded: LoadedModel
    frame: PromptFrame
    wordings: tuple[tuple[str, ...], ...]
    parts: tuple[PromptParts, ...]
    max_new_tokens: int
    batch_size: int
    stop: tuple[str, ...] = ()
    ends_early: bool = False
    packs_layers: bool = True
    decode: str = "tree"

    @property
    def num_wordings(self) -> int:
        return len(self.wordings[0])

    @property
    def ours_is_packed(self) -> bool:
        """Whether ours runs on packed linear layers."""
        return self.packs_layers and can_pack(self.loaded.device, self.loaded.dtype)

    def batches(self) -> Iterator[slice]:
        """The questions of each batch, as slices of `wordings` and `parts`."""
        for start in range(0, len(self.wordings), self.batch_size):
            yield slice(start, min(start + self.batch_size, len(self.wordings)))

    def requests(self, batch: slice) -> list[Request]:
        """A batch as requests to an ensemble."""
        numbers = range(len(self.wordings))[batch]
        return [Request(str(n), self.wordings[n]) for n in numbers]

    def settings(self, num_tokens: int) -> Settings:
        """How an ensemble answers this work with at most `num_tokens` tokens."""
        return Settings(max_new_tokens=num_tokens, stop=self.stop)

    def with_batch_size(self, batch_size: int) -> "Work":
        return replace(self, batch_size=batch_size)

    def ending_early(self, stop: Sequence[str]) -> "Work":
        """The same prompts, answered until a stop string or an end-of-sequence token."""
        return replace(self, stop=tuple(stop), ends_early=True)

    def ensemble(
        self, methods: Sequence[AnyMethod], num_tokens: int, attention: str | None = None
    ) -> Ensemble:
        """An ensemble that answers this work with these methods."""
        with _without_eos(self):
            return Ensemble(
                self.loaded, methods,
                frame=self.frame, settings=self.settings(num_tokens), attention=attention,
                decode=self.decode,
            )  # fmt: skip


def demo_work(
    loaded: LoadedModel,
    *,
    num_questions: int,
    num_wordings: int = 5,
    num_shots: int = 5,
    max_new_tokens: int = 20,
    batch_size: int = 16,
) -> Work:
    """The bundled questions in the form of WebQuestions; they repeat where more are asked for.

    Raises:
        UserError: More wordings or examples than the bundled questions have.
    """
    demo = load_questions("demo", num_shots=num_shots)
    available = min(len(question.wordings) for question in demo.questions)
    if not 1 <= num_wordings <= available:
        raise UserError(
            f"Got {num_wordings} wordings; the bundled questions have 1 to {available}. "
            "Use --shape P,N,S,T for more.",
            "SE-1101",
        )
    chosen = islice(cycle(demo.questions), num_questions)
    wordings = tuple(question.wordings[:num_wordings] for question in chosen)
    frame = plain_frame(loaded.tokenizer, demo.instruction, demo.shots, demo.framing)
    return Work(
        name=f"bundled questions, {num_shots} shots",
        loaded=loaded,
        frame=frame,
        wordings=wordings,
        parts=tuple(frame.parts(question) for question in wordings),
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
    )


def shape_work(
    loaded: LoadedModel,
    shape: Shape,
    *,
    num_questions: int,
    batch_size: int = 16,
    seed: int = 0,
) -> Work:
    """Random tokens in prompts of given lengths, with a cue of one token more."""
    vocabulary = loaded.model.config.vocab_size
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> list[list[int]]:
        drawn: list[list[int]] = torch.randint(1, vocabulary, size, generator=generator).tolist()
        return drawn

    prefix, cue = draw(1, shape.prefix)[0], draw(1, 1)[0]
    segments = draw(num_questions * shape.num_wordings, shape.segment)
    texts = [" ".join(map(str, segment)) for segment in segments]
    wordings = tuple(
        tuple(texts[start : start + shape.num_wordings])
        for start in range(0, len(texts), shape.num_wordings)
    )
    tokenizer = id_tokenizer(vocabulary)
    framing = Framing("{}", f" {cue[0]}")
    frame = plain_frame(tokenizer, "".join(f"{token} " for token in prefix), (), framing)
    return Work(
        name=f"random tokens, shape {','.join(map(str, shape))}",
        loaded=replace(loaded, tokenizer=tokenizer),
        frame=frame,
        wordings=wordings,
        parts=tuple(frame.parts(question) for question in wordings),
        max_new_tokens=shape.new_tokens,
        batch_size=batch_size,
    )


def generation_config(work: Work) -> GenerationConfig:
    """What the model's own `generate` runs with: greedy, and ending as this work's answers do."""
    # transformers fills what is missing from the model's configuration; that is why the model
    # gets this one instead of a call's argument.
    own = work.loaded.model.generation_config.eos_token_id if work.ends_early else None
    if work.ends_early and own is None:
        own = work.loaded.tokenizer.eos_token_id
    pad = work.loaded.tokenizer.pad_token_id
    return GenerationConfig(
        do_sample=False, eos_token_id=own, pad_token_id=0 if pad is None else pad, use_cache=True
    )


@contextmanager
def model_as_it_was(loaded: LoadedModel) -> Iterator[None]:
    """Give the model its attention, linear layers and generation settings back afterwards."""
    model = loaded.model
    attention, generation = model.config._attn_implementation, model.generation_config
    try:
        yield
    finally:
        model.generation_config = generation
        model.set_attn_implementation(attention)
        unpack_linears(model)


@contextmanager
def _without_eos(work: Work) -> Iterator[None]:
    """Hide the end-of-sequence tokens from an ensemble that is made meanwhile."""
    model = work.loaded.model
    before = model.generation_config
    if not work.ends_early:
        model.generation_config = copy.deepcopy(before)
        model.generation_config.eos_token_id = []
    try:
        yield
    finally:
        model.generation_config = before
