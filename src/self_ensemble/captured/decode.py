"""Decoding in steps of fixed shape, without waiting for the device.

The tree (`walking/loop.py`) looks at every token on the host before it lays out the next pass.
Here every stream has its place in advance, tokens are chosen where the logits are, and the host
reads them a few steps late, only to see which answers have ended. That wastes the steps after the
last end, and shares nothing between methods; in return a step costs a GPU its kernels alone.

B questions, K streams and A answers of each, V vocabulary.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from self_ensemble.captured.pool import StepPool
from self_ensemble.captured.step import Prompts, Step, StepShape
from self_ensemble.errors import UserError, unknown_name
from self_ensemble.models.load import LoadedModel
from self_ensemble.models.packed_linear import PackedLinear
from self_ensemble.passes.batch import Batch, Frontier
from self_ensemble.passes.engine import Counters
from self_ensemble.passes.memory import check_fits, pass_bytes
from self_ensemble.walking.choose import greedy
from self_ensemble.walking.loop import Decoded, Track
from self_ensemble.walking.sampling import Sampling
from self_ensemble.walking.stopping import StopRule

DECODE = ("tree", "captured", "compiled")
LAG = 4  # steps that the host is behind the device


def check_decode(decode: str, sampling: Sampling, num_top: int = 0) -> None:
    """Refuse a way to decode that does not exist, or cannot do what is asked.

    Raises:
        UserError: It is not in `DECODE`, or is greedy and the temperature is not 0, or does not
            keep the likeliest tokens.
    """
    if decode not in DECODE:
        raise unknown_name("way to decode", decode, DECODE)
    if decode != "tree" and sampling.temperature > 0:
        raise UserError(
            f"--decode {decode} is greedy, and the temperature is {sampling.temperature}. "
            "Use --decode tree.",
            "SE-0405",
        )
    if decode != "tree" and num_top:
        raise UserError(
            f"--decode {decode} keeps no likeliest tokens, and num_top is {num_top}. Use the "
            "tree.",
            "SE-0405",
        )


def check_engine_of(decode: str, engine: str) -> None:
    """Refuse a way to decode that an engine cannot go.

    Raises:
        UserError: Steps are PyTorch's.
    """
    if decode != "tree" and engine != "torch":
        raise UserError(
            f"--decode {decode} makes steps of PyTorch's, and --engine {engine} has passes of its "
            "own. Use --decode tree, or --engine torch.",
            "SE-0405",
        )


def check_model(decode: str, model: LoadedModel) -> None:
    """Refuse a way to decode that a loaded model cannot go.

    Raises:
        UserError: The model lies on several devices, or has layers that cannot be compiled.
    """
    if decode == "tree":
        return
    check_engine_of(decode, model.engine)
    if decode == "compiled" and any(isinstance(m, PackedLinear) for m in model.model.modules()):
        raise UserError(
            "--decode compiled cannot compile packed linear layers, which models on a CPU have. "
            "Use --decode captured, or load_model(packed=False).",
            "SE-0405",
        )
    devices = {parameter.device for parameter in model.model.parameters()}
    if len(devices) > 1:
        raise UserError(
            f"--decode {decode} needs the model on one device; it is on {len(devices)}. "
            "Use --decode tree.",
            "SE-0405",
        )


@torch.inference_mode()
def decode_captured(
    batch: Batch,
    frontier: Frontier,
    tracks: Sequence[Track],
    weights_BN: Tensor,
    stops: Sequence[StopRule],
    pool: StepPool,
    *,
    compiled: bool = False,
) -> list[list[list[Decoded]]]:
    """Decode every track of a batch, one after the other, each from the same prefill.

    Args:
        batch: The prefilled batch.
        frontier: Its nodes: the same number of streams for each question.
        tracks: What to decode; greedy ones.
        weights_BN: Weight of each wording, for rules that read them.
        stops: When the answers of each question end.
        pool: Steps that were set up before.
        compiled: Whether steps are compiled.

    Returns:
        What `decode` returns: answers as `[track][question][answer]`.

    Raises:
        UserError: The model's attention does not read the cache as it is.
    """
    if not batch.reads_rows:
        raise UserError(
            f"{type(batch.engine.model.model).__name__} makes keys and values anew from what it "
            "has cached, which steps of fixed shape cannot do. Use --decode tree.",
            "SE-0405",
        )
    weights = weights_BN.to(frontier.logits_MV.device)
    try:
        # Streams and events are those of the current device.
        with torch.cuda.device(weights.device) if weights.is_cuda else nullcontext():
            return [
                _decode_track(batch, frontier, track, weights, stops, pool, compiled)
                for track in tracks
            ]
    except torch.OutOfMemoryError:
        # A smaller batch has other shapes; what these hold may be what it lacks.
        pool.clear()
        raise


def _decode_track(
    batch: Batch,
    frontier: Frontier,
    track: Track,
    weights_BN: Tensor,
    stops: Sequence[StopRule],
    pool: StepPool,
    compiled: bool,
) -> list[list[Decoded]]:
    sampled = any(sampling.temperature > 0 for sampling in track.samplings)
    assert not sampled, "sampled tokens are drawn on the host"
    streams = torch.tensor(track.streams)
    num_rows, vocabulary = len(weights_BN), frontier.logits_MV.shape[1]

    def of_streams(values_M: Tensor) -> Tensor:
        return values_M.view(num_rows, -1)[:, streams]

    on_device = streams.to(frontier.logits_MV.device)
    logits_BKV = frontier.logits_MV.view(num_rows, -1, vocabulary)[:, on_device]
    most = max(stop.max_new_tokens for stop in stops)
    num_steps = most - 1
    answers = _Answers(track, stops)
    step: Step | None = None
    for place in range(most):
        if track.rule is None:
            scores_BAV = logits_BKV
        else:
            scores_BAV = track.rule(logits_BKV, weights_BN)[:, None]
        tokens_BA, logprobs_BA = greedy(scores_BAV)
        answers.send(tokens_BA, logprobs_BA)
        answers.take_in(LAG)
        if place == num_steps or answers.all_ended:
            break
        if step is None:
            prompts = _prompts(
                batch, of_streams(frontier.groups_M), of_streams(frontier.positions_M)
            )
            step = _loaded_step(batch, prompts, num_steps, pool, compiled)
        _count(batch.engine.counters, num_rows * len(track.streams), step)
        logits_BKV = step.run(tokens_BA.expand(-1, len(track.streams)))
    answers.take_in(0)
    return answers.decoded


def _loaded_step(
    batch: Batch, prompts: Prompts, num_steps: int, pool: StepPool, compiled: bool
) -> Step:
    """The step that holds a batch's prompts and so many steps."""
    engine = batch.engine
    num_rows, num_streams = prompts.stream_groups_BK.shape
    num_slots = prompts.groups_BL.shape[1] + num_steps * num_streams
    shape = StepShape.holding(num_rows, num_streams, num_slots)
    if engine.model.device.type == "cpu" and shape not in pool.steps:
        num_tokens = shape.num_rows * num_streams
        rows = shape.num_rows * shape.num_slots * batch.row_cache.slot_bytes
        config, dtype = engine.model.model.config, engine.model.dtype
        check_fits(rows + pass_bytes(config, dtype, num_tokens, num_tokens))
    step = pool.get(engine.model, shape, batch.cache.prefix, compiled)
    engine.counters.captures = pool.num_set_up
    step.load(prompts, num_steps)
    return step


def _count(counters: Counters, num_tokens: int, step: Step) -> None:
    counters.forwards += 1
    counters.decode_tokens += num_tokens
    counters.logit_rows += num_tokens
    counters.padding_tokens += step.shape.num_rows * step.shape.num_streams - num_tokens


def _prompts(batch: Batch, groups_BK: Tensor, positions_BK: Tensor) -> Prompts:
    """What the prefill has left behind, without the prefix."""
    cache = batch.row_cache
    behind = slice(cache.num_prefix_slots, cache.num_slots)
    layers = [
        (keys[:, behind], values[:, behind])
        for keys, values in zip(cache.keys, cache.values, strict=True)
    ]
    return Prompts(
        layers, batch.bias_BGG, batch.key_group_BS[:, behind], batch.key_position_BS[:, behind],
        groups_BK, positions_BK,
    )  # fmt: skip


@dataclass(slots=True)
class _Answers:
    """The answers as the host knows them, and tokens that are still on their way to it."""

    track: Track
    stops: Sequence[StopRule]
    decoded: list[list[Decoded]] = field(init=False)
    _coming: deque[tuple[Tensor, torch.cuda.Event | None]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.decoded = [[Decoded() for _ in range(self.track.num_answers)] for _ in self.stops]

    @property
    def all_ended(self) -> bool:
        """Whether every answer has ended, as far as the host knows."""
        return all(one.stop_reason is not None for row in self.decoded for one in row)

    def send(self, tokens_BA: Tensor, logprobs_BA: Tensor) -> None:
        """Send what a step has chosen to the host; the device goes on."""
        # One transfer; a float32 holds every whole number up to 16 million.
        sent = torch.stack([tokens_BA.float(), logprobs_BA])
        if not sent.is_cuda:
            self._coming.append((sent.cpu(), None))
            return
        host = torch.empty(sent.shape, dtype=sent.dtype, pin_memory=True)
        host.copy_(sent, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._coming.append((host, event))

    def take_in(self, lag: int) -> None:
        """Read what was sent more than so many steps ago."""
        while len(self._coming) > lag:
            sent, event = self._coming.popleft()
            if event is not None:
                event.synchronize()
            taken = sent.permute(1, 2, 0).tolist()
            for row, found, stop in zip(self.decoded, taken, self.stops, strict=True):
                for answer, (token, logprob) in zip(row, found, strict=True):
                    if answer.stop_reason is None:
                        answer.take(int(token), logprob, stop)
