"""Ask a causal language model the same question in N wordings and fuse them into one answer."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from self_ensemble.asking.items import ItemPrompts as ItemPrompts
    from self_ensemble.asking.likelihood import LogLikelihood as LogLikelihood
    from self_ensemble.asking.request import Answer as Answer
    from self_ensemble.asking.request import Request as Request
    from self_ensemble.asking.request import Settings as Settings
    from self_ensemble.asking.streaming import Step as Step
    from self_ensemble.asking.streaming import Stream as Stream
    from self_ensemble.attribution.attribute import OrderSampling as OrderSampling
    from self_ensemble.attribution.kinds import Attribution as Attribution
    from self_ensemble.ensemble import Ensemble as Ensemble
    from self_ensemble.errors import Stopped as Stopped
    from self_ensemble.errors import UserError as UserError
    from self_ensemble.jobs.analyze import analyze as analyze
    from self_ensemble.jobs.confidence import ConfidenceOptions as ConfidenceOptions
    from self_ensemble.jobs.confidence import estimate_confidence as estimate_confidence
    from self_ensemble.jobs.generate import generate as generate
    from self_ensemble.jobs.generate_options import GenerateOptions as GenerateOptions
    from self_ensemble.jobs.inputs import ModelOptions as ModelOptions
    from self_ensemble.jobs.learn_options import LearnOptions as LearnOptions
    from self_ensemble.jobs.learn_weights import learn_weights as learn_weights
    from self_ensemble.jobs.paraphrase import ParaphraseOptions as ParaphraseOptions
    from self_ensemble.jobs.paraphrase import paraphrase as paraphrase
    from self_ensemble.jobs.progress import Progress as Progress
    from self_ensemble.jobs.replay import replay as replay
    from self_ensemble.jobs.results import Results as Results
    from self_ensemble.jobs.reword import reword as reword
    from self_ensemble.jobs.workers.options import Workers as Workers
    from self_ensemble.models.load import LoadedModel as LoadedModel
    from self_ensemble.models.load import load_model as load_model
    from self_ensemble.prompts.build import conversation_frame as conversation_frame
    from self_ensemble.prompts.frame import whole_frame as whole_frame
    from self_ensemble.questions.by_text import KnownWordings as KnownWordings
    from self_ensemble.questions.by_text import field_text as field_text
    from self_ensemble.questions.by_text import load_templates as load_templates
    from self_ensemble.questions.by_text import load_wordings as load_wordings
    from self_ensemble.questions.chosen import DataOptions as DataOptions
    from self_ensemble.questions.files import questions_from_rows as questions_from_rows
    from self_ensemble.questions.load import load_questions as load_questions
    from self_ensemble.report.results_page.job import write_report as write_report
    from self_ensemble.scoring.normalise import first_line as first_line
    from self_ensemble.scoring.vote import vote as vote
    from self_ensemble.tracing.trace import Trace as Trace
    from self_ensemble.walking.sampling import Sampling as Sampling

__version__ = "0.1.0"

# Threads that wait for each other give the core up soon, unless the user has set how long to spin.
# GNU OpenMP reads it when torch is imported. With its default, two runs on two cores hinder each
# other until they hardly go on; a run by itself takes the same either way.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")

_WHERE = {
    "first_line": "scoring.normalise",
    "vote": "scoring.vote",
    "conversation_frame": "prompts.build",
    "load_templates": "questions.by_text",
    "ItemPrompts": "asking.items",
    "whole_frame": "prompts.frame",
    "Sampling": "walking.sampling",
    "reword": "jobs.reword",
    "load_wordings": "questions.by_text",
    "field_text": "questions.by_text",
    "KnownWordings": "questions.by_text",
    "LogLikelihood": "asking.likelihood",
    "Answer": "asking.request",
    "Request": "asking.request",
    "Settings": "asking.request",
    "Step": "asking.streaming",
    "Stream": "asking.streaming",
    "OrderSampling": "attribution.attribute",
    "Attribution": "attribution.kinds",
    "Ensemble": "ensemble",
    "Stopped": "errors",
    "UserError": "errors",
    "analyze": "jobs.analyze",
    "ConfidenceOptions": "jobs.confidence",
    "estimate_confidence": "jobs.confidence",
    "GenerateOptions": "jobs.generate_options",
    "generate": "jobs.generate",
    "DataOptions": "questions.chosen",
    "ModelOptions": "jobs.inputs",
    "LearnOptions": "jobs.learn_options",
    "learn_weights": "jobs.learn_weights",
    "ParaphraseOptions": "jobs.paraphrase",
    "paraphrase": "jobs.paraphrase",
    "Progress": "jobs.progress",
    "replay": "jobs.replay",
    "Results": "jobs.results",
    "Workers": "jobs.workers.options",
    "LoadedModel": "models.load",
    "load_model": "models.load",
    "questions_from_rows": "questions.files",
    "load_questions": "questions.load",
    "write_report": "report.results_page.job",
    "Trace": "tracing.trace",
}
__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, so nothing is imported before it is asked for.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
