"""A playground in the browser: Gradio over `playground/`. Needs `self-ensemble[playground]`.

It is mounted at /playground into the application of `serve`, behind its keys and limits, and asks
the same service. Nothing is sent to or fetched from elsewhere, and nothing is written to disk.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from self_ensemble.errors import UserError
from self_ensemble.playground import board as boards
from self_ensemble.playground import views
from self_ensemble.playground.answering import answer, make_wordings, methods_of, opened, told
from self_ensemble.playground.door import PATH, Door
from self_ensemble.playground.files import OPEN, SAVE
from self_ensemble.playground.snippets import curl_code, python_code
from self_ensemble.serving.errors import ApiError
from self_ensemble.serving.service import Service

PREFERRED = ("flex_attention", "avg", "vote")
Values = dict[Any, Any]


def add_playground(
    app: FastAPI, *, url: str = "http://127.0.0.1:8000", with_key: bool = False
) -> FastAPI:
    """Mount the playground into an application of `create_app`.

    Args:
        app: The application, before it is started.
        url: Where it will be reached, for the commands that the page shows.
        with_key: Whether these need a key.
    """
    asyncio.run(_mount(app, url, with_key))
    app.add_middleware(Door)
    app.add_route("/", lambda _: RedirectResponse(f"{PATH}/"))
    return app


async def _mount(app: FastAPI, url: str, with_key: bool) -> None:
    """Within a loop, of which Gradio would otherwise leave several open."""
    page = _Page(app.state.service, url, with_key)
    gr.mount_gradio_app(
        app, page.blocks, PATH, footer_links=[], run_history=False, ssr_mode=False, pwa=False,
        enable_monitoring=False, mcp_server=False, show_error=False, max_file_size=1,
        theme=gr.themes.Default(primary_hue="blue", font=views.SANS, font_mono=views.MONO),
        css=views.style(),
    )  # fmt: skip


class _Page:
    """The page's parts, and what happens on them."""

    def __init__(self, service: Service, url: str, with_key: bool) -> None:
        self.service, self.url, self.with_key = service, url, with_key
        self.known = known = methods_of(service)
        chat = service.ensemble.model.has_chat_template
        self.styles = ("plain", "chat") if chat else ("plain",)
        most = min(boards.MAX_WORDINGS, service.limits.max_wordings) - 1
        with gr.Blocks(title=f"self-ensemble: {service.name}", analytics_enabled=False) as blocks:
            gr.HTML(views.heading(service.name))
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    self.question = gr.Textbox(
                        label="Question", placeholder="What is the capital of France?",
                        max_length=4000, autofocus=True, elem_id="se-question",
                    )  # fmt: skip
                    self.wordings = gr.Textbox(
                        label="Further wordings, one a line", lines=4, max_lines=12,
                        placeholder="France's capital is called what?", elem_id="se-wordings",
                    )  # fmt: skip
                    with gr.Row():
                        self.num = gr.Number(min(4, most), label="How many", minimum=1,
                                             maximum=most, precision=0, min_width=80)  # fmt: skip
                        make = gr.Button("Make wordings", elem_id="se-make", min_width=140)
                with gr.Column(scale=2, min_width=300):
                    self.methods = gr.CheckboxGroup(
                        known, label="Methods", elem_id="se-methods",
                        value=[one for one in PREFERRED if one in known] or known[:1],
                    )  # fmt: skip
                    self.style = gr.Radio(
                        [(boards.STYLES[name], name) for name in self.styles],
                        label="Ask", value="plain", elem_id="se-style",
                    )  # fmt: skip
                    most = min(boards.MAX_TOKENS, service.limits.max_tokens)
                    self.tokens = gr.Slider(1, most, min(32, most), step=1, label=boards.LONGEST)
                    self.attribute = gr.Checkbox(True, label="Find out which wording decided")
            with gr.Row():
                ask = gr.Button("Ask", variant="primary", elem_id="se-ask", min_width=70)
                stop = gr.Button("Stop", elem_id="se-stop", min_width=70)
                save = gr.Button("Save", elem_id="se-save", min_width=70)
                load = gr.Button("Open", elem_id="se-open", min_width=70)
            self.said = gr.HTML(elem_id="se-said")
            self.gate = gr.HTML(elem_id="se-gate")
            self.answers = gr.HTML(elem_id="se-answers")
            with gr.Tabs():
                with gr.Tab("Attribution"):
                    self.strips = gr.HTML(elem_id="se-strips")
                with gr.Tab("Mask"):
                    self.mask = gr.HTML(elem_id="se-mask")
                with gr.Tab("Python"):
                    self.python = gr.Code(language="python", interactive=False, show_label=False)
                with gr.Tab("curl"):
                    self.curl = gr.Code(language="shell", interactive=False, show_label=False)
            self.made, self.file = gr.Textbox(visible=False), gr.Textbox(visible=False)
            self._connect(ask, stop, make, save, load)
        self.blocks = blocks.queue(
            max_size=service.limits.max_waiting,
            default_concurrency_limit=service.limits.max_live, api_open=False,
        )  # fmt: skip

    def _connect(self, ask: Any, stop: Any, make: Any, save: Any, load: Any) -> None:
        given = [self.question, self.wordings, self.methods, self.style, self.tokens,
                 self.attribute, self.made]  # fmt: skip
        shown = [self.said, self.answers, self.strips, self.mask, self.python, self.curl,
                 self.file]  # fmt: skip
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        asking = [
            event(self._ask, given, shown, trigger_mode="always_last", **quiet)
            for event in (ask.click, self.question.submit)
        ]
        making = make.click(
            self._make, [self.question, self.num],
            [self.said, self.gate, self.wordings, self.made],
            api_visibility="private", show_progress_on=self.gate,
        )  # fmt: skip
        stop.click(None, cancels=[*asking, making], api_visibility="private")
        save.click(None, [self.file], js=SAVE, api_visibility="private")
        load.click(
            self._open, [self.file], [*shown, *given[:5], self.gate, self.made], js=OPEN, **quiet
        )

    async def _ask(
        self, question: str, wordings: str, methods: list[str], style: str, tokens: float,
        attribute: bool, made: str,
    ) -> AsyncGenerator[Values, None]:  # fmt: skip
        try:
            asked = boards.asked_of(
                question, wordings, methods=[one for one in self.known if one in methods],
                style=style, max_tokens=int(tokens),
            )  # fmt: skip
            gate = boards.gate_of(asked, made)
            yield {**self._done(None), self.said: ""}
            async for last in answer(self.service, asked, gate, attribute=attribute):
                yield {self.answers: views.answers(last)}
                if all(one.is_whole for one in last.members):
                    yield self._done(last)
        except (UserError, ApiError) as error:
            yield {self.said: views.refusal(told(error))}

    async def _make(self, question: str, num: float) -> Values:
        try:
            gate = await make_wordings(self.service, question.strip(), int(num or 0))
        except (UserError, ApiError) as error:
            return {self.said: views.refusal(told(error))}
        found = {self.gate: views.gate(gate), self.made: gate.model_dump_json(), self.said: ""}
        return found | ({self.wordings: "\n".join(gate.kept)} if gate.kept else {})

    def _open(self, text: str) -> Values:
        if not text:
            return {}
        try:
            found = boards.read(text)
        except UserError as error:
            return {self.said: views.refusal(told(error))}
        asked = found.asked
        return {
            **self._done(found),
            self.said: views.note(opened(found, self.known, self.styles)),
            self.answers: views.answers(found),
            self.question: asked.wordings[0],
            self.wordings: "\n".join(asked.wordings[1:]),
            self.methods: [one for one in asked.methods if one in self.known],
            self.style: asked.style if asked.style in self.styles else "plain",
            self.tokens: min(asked.max_tokens, self.service.limits.max_tokens),
            self.gate: views.gate(found.gate),
            self.made: found.gate.model_dump_json() if found.gate else "",
        }

    def _done(self, found: boards.Board | None) -> Values:
        """What stands below the answers; nothing of the last question while one is asked."""
        if found is None:
            return dict.fromkeys((self.strips, self.mask, self.python, self.curl, self.file), "")
        model = self.service.ensemble.model.name
        return {
            self.strips: views.strips(found),
            self.mask: views.mask(found.lengths),
            self.python: python_code(found.asked, model),
            self.curl: curl_code(found.asked, self.service.name, self.url, with_key=self.with_key),
            self.file: boards.write(found),
        }
