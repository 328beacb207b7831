"""Code that asks the same: Python with this package, and curl against the server."""

import json
import shlex
from collections.abc import Sequence

from self_ensemble.playground.board import Asked
from self_ensemble.questions.schema import Framing

STOP = ("\n",)  # of answers in plain style
PLAIN = Framing()


def plain_prompt(wording: str) -> str:
    """A wording as a whole prompt."""
    return PLAIN.wording.format(wording) + PLAIN.cue


def body_of(asked: Asked, model: str, method: str) -> tuple[str, dict[str, object]]:
    """Route and body of the request to the server that asks the same with one method."""
    common = {"model": model, "method": method, "max_tokens": asked.max_tokens}
    if asked.style == "chat":
        original, *others = asked.wordings
        route = "/v1/chat/completions"
        said: dict[str, object] = {"messages": [{"role": "user", "content": original}]}
    else:
        original, *others = map(plain_prompt, asked.wordings)
        route, said = "/v1/completions", {"prompt": original, "stop": list(STOP)}
    return route, {**common, **said, **({"wordings": others} if others else {})}


def python_code(asked: Asked, model: str) -> str:
    """A script that asks the same without a server."""
    if asked.style == "chat":
        stop, prompts = "", "wordings"
        frame = "conversation_frame(model.tokenizer, [])"
        imported = "from self_ensemble.prompts.build import conversation_frame"
    else:
        # Whole prompts, as the server is asked: their common end is what reads all of them.
        stop, prompts = (
            '"\\n",',
            f"[{_quoted(plain_prompt('{}'))}.format(one) for one in wordings]",
        )
        frame = "whole_frame(model.tokenizer)"
        imported = "from self_ensemble.prompts.frame import whole_frame"
    methods = ", ".join(map(_quoted, (*asked.methods, "per_prompt")))
    lines = [
        "from self_ensemble import Ensemble, Request, load_model",
        "from self_ensemble.asking.request import Settings",
        imported,
        "",
        f"model = load_model({_quoted(model)})",
        "ensemble = Ensemble(",
        "    model,",
        f"    [{methods}],",
        f"    frame={frame},",
        f"    settings=Settings(max_new_tokens={asked.max_tokens}, stop=({stop})),",
        ")",
        f"wordings = {_listed(asked.wordings)}",
        f"prompts = {prompts}",
        'found = ensemble.run([Request("q", tuple(prompts))])',
        "for method, (answer,) in found.items():",
        '    print(method, answer.generation, sep=": ")',
        'for wording, answer in zip(wordings, found["per_prompt"][0].members):',
        '    print(wording, answer.generation, sep=" -> ")',
    ]
    return "\n".join(lines)


def curl_code(asked: Asked, model: str, url: str, *, with_key: bool = False) -> str:
    """Commands that ask a server the same, one a method."""
    key = " -H 'Authorization: Bearer '\"$KEY\"" if with_key else ""
    commands = []
    for method in asked.methods:
        route, body = body_of(asked, model, method)
        text = shlex.quote(json.dumps(body, indent=1, ensure_ascii=False))
        commands.append(f"curl {url}{route}{key} -H 'Content-Type: application/json' -d {text}")
    return "\n\n".join(commands)


def _listed(texts: Sequence[str]) -> str:
    return "[\n" + "".join(f"    {_quoted(text)},\n" for text in texts) + "]"


def _quoted(text: str) -> str:
    """A literal of Python, in double quotes; of anything."""
    return json.dumps(text, ensure_ascii=not text.isprintable())
