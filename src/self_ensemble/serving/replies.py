"""Answers as OpenAI's clients read them."""

import secrets
import time
from dataclasses import dataclass, field

from self_ensemble.asking.request import Answer
from self_ensemble.asking.streaming import Step
from self_ensemble.serving.preparing import Work
from self_ensemble.serving.service import Told
from self_ensemble.walking.stopping import StopRule

Json = dict[str, object]
ENDS = {"eos": "stop", "stop": "stop", "length": "length"}


@dataclass(slots=True)
class Reply:
    """What is written for one request.

    Attributes:
        model: What the client calls the model.
        work: What was asked.
        stop: Reads the tokens of the answers.
        is_chat: Which of the two shapes.
        logprobs: Whether log-probabilities are asked for.
        number: Its id.
    """

    model: str
    work: Work
    stop: StopRule
    is_chat: bool
    logprobs: bool
    number: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))
    # Of each choice: characters and tokens that were sent.
    _sent: dict[int, tuple[int, int]] = field(default_factory=dict)

    def whole(self, ends: list[Told]) -> Json:
        """All answers at once, in order."""
        choices = []
        for told in sorted(ends, key=lambda one: one.choice):
            assert told.end is not None
            text = told.end.answer.generation
            content: Json = (
                {"message": {"role": "assistant", "content": text, "refusal": None}}
                if self.is_chat
                else {"text": text}
            )
            choices.append(self._choice(told, content, 0))
        kind = "chat.completion" if self.is_chat else "text_completion"
        return self._head(kind) | {"choices": choices, "usage": self.usage(ends)}

    def opening(self, choice: int) -> Json:
        """The first chunk of a streamed chat answer."""
        return self._chunk({"index": choice, "delta": {"role": "assistant", "content": ""}})

    def chunk(self, told: Told) -> Json | None:
        """A chunk with what is new of an answer; None for nothing."""
        num_chars, num_tokens = self._sent.get(told.choice, (0, 0))
        new = told.text[num_chars:]
        if not new and told.end is None:
            return None
        delta: Json = {"content": new} if new else {}
        content: Json = {"delta": delta} if self.is_chat else {"text": new}
        choice = self._choice(told, content, num_tokens)
        self._sent[told.choice] = (
            len(told.text), self._num_settled(told.answer, told.text, num_tokens),
        )  # fmt: skip
        return self._chunk(choice)

    def last(self, ends: list[Told]) -> Json:
        """The chunk with the usage."""
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        return self._head(kind) | {"choices": [], "usage": self.usage(ends)}

    def usage(self, ends: list[Told]) -> Json:
        """Tokens of all wordings' prompts, and of the answers."""
        answers = [told.end.answer for told in ends if told.end is not None]
        num_answered = sum(len(answer.token_ids) for answer in answers)
        num_asked = self.work.num_prompt_tokens
        return {
            "prompt_tokens": num_asked,
            "completion_tokens": num_answered,
            "total_tokens": num_asked + num_answered,
        }

    def _head(self, kind: str) -> Json:
        prefix = "chatcmpl" if self.is_chat else "cmpl"
        return {
            "id": f"{prefix}-{self.number}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        }

    def _chunk(self, choice: Json) -> Json:
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        return self._head(kind) | {"choices": [{"finish_reason": None, **choice}]}

    def _choice(self, told: Told, content: Json, num_sent: int) -> Json:
        found: Json = {"index": told.choice, **content, "finish_reason": None, "logprobs": None}
        if self.logprobs:
            end = self._num_settled(told.answer, told.text, num_sent)
            found["logprobs"] = self._logprobs(told.answer, num_sent, end)
        if told.end is not None:
            found["finish_reason"] = ENDS[told.end.answer.stop_reason]
            found["ensemble"] = told.end.ensemble
        return found

    def _num_settled(self, step: Step | Answer, text: str, start: int) -> int:
        """How many tokens a text that is settled is made of; what ends an answer is none of it."""
        if not self.logprobs:
            return 0
        ids = step.token_ids
        number = start
        while number < len(ids) and ids[number] not in self.stop.eos_token_ids:
            if len(self.stop.plain(ids[: number + 1]).rstrip("\ufffd")) > len(text):
                break
            number += 1
        return number

    def _logprobs(self, step: Step | Answer, start: int, end: int) -> Json:
        places = range(start, end)
        tops = [step.tops[n] if step.tops else () for n in places]
        if self.is_chat:
            return {
                "content": [
                    self._token(step.token_ids[n], step.logprobs[n])
                    | {"top_logprobs": [self._token(*one) for one in top]}
                    for n, top in zip(places, tops, strict=True)
                ],
                "refusal": None,
            }
        tokens = [self._text(step.token_ids[n]) for n in places]
        offsets = [len(self.stop.plain(step.token_ids[:n])) for n in places]
        return {
            "tokens": tokens,
            "token_logprobs": [step.logprobs[n] for n in places],
            "top_logprobs": [{self._text(token): value for token, value in top} for top in tops],
            "text_offset": offsets,
        }

    def _token(self, token: int, logprob: float) -> Json:
        text = self._text(token)
        # Half a character has no text, and which bytes it is not every tokenizer tells.
        raw = None if "\ufffd" in text else list(text.encode())
        return {"token": text, "logprob": logprob, "bytes": raw}

    def _text(self, token: int) -> str:
        # Behind another one, because some tokenizers drop a text's first space.
        one, two = self.stop.plain([token]), self.stop.plain([token, token])
        return two[len(one) :] if two.startswith(one) else one
