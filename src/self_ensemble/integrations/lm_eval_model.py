"""A model of lm-evaluation-harness whose every request is asked in several wordings.

    self-ensemble lm-eval --model self-ensemble --model_args model=...,method=... --tasks ...

Importing this module puts the model into lm-eval's table, for `lm_eval.simple_evaluate`. lm-eval
0.4.13 looks models up in that table alone: it reads no entry points, and `--include_path` is for
tasks. So the command above adds the model and hands over to lm-eval's own. Needs
`self-ensemble[lm-eval]`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from tqdm import tqdm

import self_ensemble as se

UNSAID = "cuda:0"  # what lm-eval's command gives as the device where nobody has said one
# What a task may ask for although it changes nothing.
NEUTRAL = {"num_beams": 1, "repetition_penalty": 1, "top_k": 0, "min_p": 0, "typical_p": 1}
OF_SAMPLING = {"top_p", "top_k", "min_p", "typical_p"}


@register_model("self-ensemble")
class SelfEnsembleLM(LM):
    """Asks requests with one method, in wordings of the question or of the whole prompt.

    Arguments are `--model_args`, which docs/lm-eval.md explains: `paraphrases` is a file of
    wordings by question, or "auto" to have the model draw them; `templates` a file of texts with
    `{}` for the whole prompt. Whatever cannot be asked as told is a `UserError`.
    """

    def __init__(
        self, model: str | se.LoadedModel = "smollm2_135m_it", method: str = "flex_attention", *,
        paraphrases: str | None = None, templates: str | None = None,
        num_paraphrases: int | None = None, fewer: str = "refuse",
        question_field: str | None = None, wordings_folder: str | None = None, seed: int = 0,
        batch_size: int | str = 1, max_batch_size: object = None, device: str | None = None,
        dtype: str = "auto", attention: str = "auto", engine: str = "torch",
        trust_remote_code: bool = False, **unknown: object,
    ) -> None:  # fmt: skip
        super().__init__()
        if unknown:
            raise se.UserError(
                f"Unknown model_args: {', '.join(unknown)}. See docs/lm-eval.md.", "SE-0011"
            )
        if paraphrases and templates:
            raise se.UserError("Got paraphrases and templates. Give one of the two.", "SE-0012")
        if method == "per_prompt" or (method == "origin") == bool(paraphrases or templates):
            raise se.UserError(
                f"Got method={method} {'with' if paraphrases or templates else 'without'} "
                "paraphrases or templates. origin asks the prompt as it is, every other method "
                "asks wordings, and per_prompt has an answer for each, where lm-eval takes one.",
                "SE-0012",
            )
        self.known = se.KnownWordings.given(paraphrases, num_paraphrases, fewer)
        if not isinstance(model, se.LoadedModel):
            model = se.load_model(
                str(model), device="auto" if device in (None, UNSAID) else device, dtype=dtype,
                attention=attention, engine=engine, trust_remote_code=bool(trust_remote_code),
            )  # fmt: skip
        self.batch_size = 16 if str(batch_size).startswith("auto") else max(1, int(batch_size))
        self.loaded, self.tokenizer, self.seed = model, model.tokenizer, seed
        self.paraphrases, self.num, self.field = paraphrases, num_paraphrases, question_field
        self.folder, self.is_chat = wordings_folder, False  # are prompts in the chat template?
        self.templates = se.load_templates(templates)[:num_paraphrases] if templates else ()
        self.ensemble = se.Ensemble(model, method, frame=se.whole_frame(self.tokenizer))
        self.method = self.ensemble.methods[0]

    def generate_until(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[str]:
        """Answer with stop strings and a greatest length, one text for each request."""
        settings = [self._settings(*one.args[1:2]) for one in requests]
        asked = self._asked(requests, [one.args[0] for one in requests], settings)
        # Repeats of a request are samples of their own.
        seen: Counter[str] = Counter()
        for place, one in enumerate(asked):
            seen[one.key] += 1
            asked[place] = replace(one, key=f"{one.key}/{seen[one.key]}")
        texts: list[str] = []
        with tqdm(total=len(asked), disable=disable_tqdm, desc="generate_until") as bar:
            while batch := asked[len(texts) :][: self.batch_size]:
                found = self.ensemble.run(batch)[self.method.name]
                for request, outcome in zip(batch, found, strict=True):
                    if not isinstance(outcome, se.Answer):
                        raise se.UserError(f"Item {request.key}: {outcome.error}", "SE-0612")
                    args = requests[len(texts)].args
                    self.cache_hook.add_partial("generate_until", args, outcome.generation)
                    texts.append(outcome.generation)
                    bar.update()
        return texts

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation, and whether the method would say it by itself."""
        if not all(one.args[0].strip() for one in requests):
            raise se.UserError(
                "A request has no prompt to word in several ways, as acc_mutual_info asks for. "
                "Choose --model hf for this task.",
                "SE-1201",
            )
        # As lm-eval's own models: spaces at a prompt's end belong to the continuation. Its tokens
        # are those of the whole text, behind as many as the prompt has by itself.
        contexts = [one.args[0].rstrip() for one in requests]
        texts = ["".join(one.args[:2]) for one in requests]
        short, long = (self.tokenizer(some)["input_ids"] for some in (contexts, texts))
        tokens = [tuple(ids[len(own) :]) for own, ids in zip(short, long, strict=True)]
        lengths = [se.Settings(max_new_tokens=max(1, len(ids))) for ids in tokens]
        asked = self._asked(requests, contexts, lengths)
        # Without the lengths, so that continuations of one prompt share it.
        pairs = zip((replace(one, settings=None) for one in asked), tokens, strict=True)
        prompts = [list(same) for _, same in groupby(pairs, key=lambda pair: pair[0])]
        found: list[tuple[float, bool]] = []
        with tqdm(total=len(asked), disable=disable_tqdm, desc="loglikelihood") as bar:
            for start in range(0, len(prompts), self.batch_size):
                some = prompts[start : start + self.batch_size]
                batch = [pair for same in some for pair in same]
                for one in self.ensemble.log_likelihoods(batch):
                    found.append((one.total, one.is_greedy))
                    args = requests[len(found) - 1].args
                    self.cache_hook.add_partial("loglikelihood", args, found[-1])
                    bar.update()
        return found

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Refuse: a text without a question has no wordings."""
        raise se.UserError(
            "This task asks for the log-likelihood of whole texts (perplexity), in which there is "
            "no question to word in several ways. Choose --model hf for it.",
            "SE-1201",
        )

    def _asked(
        self, requests: Sequence[Instance], prompts: Sequence[str], settings: Sequence[se.Settings]
    ) -> list[se.Request]:
        """All requests, checked before the first is asked."""
        if self.paraphrases == "auto":
            texts = {se.field_text(one.doc, self.field or "question") for one in requests}
            if texts := texts - self.known.by_question.keys():
                made = se.reword(texts, self.loaded, (self.num or 0) - 1, folder=self.folder)[0]
                self.known = replace(self.known, by_question={**self.known.by_question, **made})
        whole = se.whole_frame(self.tokenizer, is_template=self.is_chat)
        known = self.known if self.paraphrases else None
        items = se.ItemPrompts(whole, known, self.templates, self.field)
        each = [
            (f"{one.task_name}/{one.doc_id}", prompt, one.doc, how)
            for one, prompt, how in zip(requests, prompts, settings, strict=True)
        ]
        asked = items.requests(each, self.ensemble.check)
        # What prompts begin with alike, such as examples, is encoded once.
        frame = asked[0].frame if asked else whole
        self.ensemble = se.Ensemble(self.loaded, self.method, frame=frame)
        return asked

    def _settings(self, gen_kwargs: dict[str, Any]) -> se.Settings:
        kwargs = dict(normalize_gen_kwargs(gen_kwargs, default_max_gen_toks=256))
        stop = tuple(text for text in kwargs.pop("until") if text)
        length, temperature = kwargs.pop("max_gen_toks"), kwargs.pop("temperature", 0.0)
        sampling = se.Sampling()
        if kwargs.pop("do_sample") and temperature > 0:
            sampling = se.Sampling(temperature, kwargs.pop("top_p", 1.0), self.seed)
        else:
            kwargs = {name: kwargs[name] for name in kwargs.keys() - OF_SAMPLING}
        if unread := {name: v for name, v in kwargs.items() if NEUTRAL.get(name, ()) != v}:
            raise se.UserError(
                f"The task asks for {unread} in its generation, which self-ensemble does not "
                "have. Leave it out, or choose --model hf.",
                "SE-1201",
            )
        return se.Settings(max_new_tokens=length, stop=stop, sampling=sampling)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's text, for lm-eval's records."""
        self.is_chat = bool(chat_template)
        return str(self.tokenizer.chat_template) if chat_template else None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation in the model's chat template, with the date fixed and thinking off."""
        self.is_chat = True
        text: str = self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            date_string="26 Jul 2024", enable_thinking=False,
        )  # fmt: skip
        return text

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")
