"""Where a result lies: one file per data set, model, method and choice of wordings.

<output_dir>/<dataset>/<model>/flex_attention-5.feather
                               ensemble_avg-5.feather
                               ensemble_my_module.rule-5.feather
                               ensemble_weighted_avg-5-logprob.feather    with that weight source
                               vote-5.feather
                               origin.feather
                               per_prompt.feather
                               logprobs-5.feather             of generate --save-logprobs
                               confidence.feather             how sure the model is (sampling)
                               confidence-logprob.feather     another estimator
                               learned_weights.json
                               diversity/flex_attention-0,2,4.feather
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from self_ensemble.errors import UserError, unknown_name

LOGIT_METHODS = frozenset(
    {
        "avg",
        "contrast",
        "gated",
        "logprob_avg",
        "max",
        "min_entropy",
        "prob_avg",
        "weighted_avg",
        "weighted_max",
    }
)
ESTIMATORS = ("sampling", "logprob", "margin", "entropy", "agreement", "p_true")
ONE_WORDING_METHODS = frozenset({"origin", "per_prompt"})
LOGPROBS = "logprobs"
METHODS = LOGIT_METHODS | ONE_WORDING_METHODS | {"flex_attention", "vote"}


# Of a name on most file systems, less what the file's name has around it while it is written.
LONGEST = 255
LONGEST_STEM = 200


def result_path(
    output_dir: Path,
    dataset_name: str,
    model_name: str,
    method: str,
    num_paraphrases: int,
    indices: tuple[int, ...] | None,
    weights: str | None = None,
) -> Path:
    """Name the result file of one method on one data set with one model.

    Args:
        output_dir: Folder of all results.
        dataset_name: `QuestionSet.name`.
        model_name: Alias, hub id or local path, as the user gave it.
        method: A built-in method, or the user's own rule as `module:function`.
        num_paraphrases: Number of wordings asked; not used where `indices` are given.
        indices: The chosen wordings, where the user chose them.
        weights: Name of the estimator that the method's weights come from; None where it reads
            none, or those of a file or column.

    Raises:
        UserError: The method does not exist, or the model name is no name for a folder.
    """
    folder = result_folder(output_dir, dataset_name, model_name)
    stem = _method_stem(method)
    source = "" if weights is None else f"-{weights}"
    if indices is None and method in ONE_WORDING_METHODS:
        return folder / f"{stem}.feather"
    return folder / _of_wordings(stem, num_paraphrases, indices, source)


def logprobs_path(
    output_dir: Path,
    dataset_name: str,
    model_name: str,
    num_paraphrases: int,
    indices: tuple[int, ...] | None,
) -> Path:
    """Name the file of the wordings' own log-probabilities; see `result_path`."""
    folder = result_folder(output_dir, dataset_name, model_name)
    return folder / _of_wordings(LOGPROBS, num_paraphrases, indices)


def _of_wordings(
    stem: str, num_paraphrases: int, indices: tuple[int, ...] | None, source: str = ""
) -> str:
    """Name of a file of some wordings inside its folder."""
    if indices is not None:
        chosen = ",".join(map(str, indices))
        if len(chosen) > LONGEST_STEM:
            raise UserError(
                f"Got {len(indices)} --indices, too many to name a file after. Give fewer, or "
                "--paraphrases FILE with those wordings alone.",
                "SE-0709",
            )
        return f"diversity/{stem}-{chosen}{source}.feather"
    return f"{stem}-{num_paraphrases}{source}.feather"


def confidence_path(output_dir: Path, dataset_name: str, model_name: str, estimator: str) -> Path:
    """Name the file of one confidence estimator; `sampling`, the published one, is plain."""
    stem = _confidence_stem(estimator)
    return result_folder(output_dir, dataset_name, model_name) / f"{stem}.feather"


def learned_weights_path(output_dir: Path, dataset_name: str, model_name: str) -> Path:
    """Name the file of the weights learned for one model on one data set."""
    return result_folder(output_dir, dataset_name, model_name) / "learned_weights.json"


def check_name(path: Path, made_with: Mapping[str, object]) -> None:
    """Refuse a file that stands under the name of another method or estimator.

    Args:
        path: The file; a name that is none of ours says nothing, and is taken.
        made_with: Fields of its manifest.

    Raises:
        UserError: It does.
    """
    estimator, method = made_with.get("estimator"), made_with.get("method")
    if isinstance(estimator, str):
        stem, made = _confidence_stem(estimator), f"the confidences of {estimator}"
    elif isinstance(method, str):
        stem, made = _method_stem(method), f"the answers of {method}"
    elif made_with.get("save_logprobs") is not None:
        stem, made = LOGPROBS, "log-probabilities"
    else:
        return
    known = [LOGPROBS, *map(_method_stem, METHODS), *map(_confidence_stem, ESTIMATORS)]
    meant = [name for name in known if path.stem == name or path.stem.startswith(f"{name}-")]
    if meant and max(meant, key=len) != stem:
        raise UserError(
            f"{path} holds {made}: it has been renamed or exchanged. Give it back its name, "
            f"{stem}, or make it again with --overwrite.",
            "SE-0707",
        )


def result_folder(output_dir: Path, dataset_name: str, model_name: str) -> Path:
    """Where all files of one model on one data set lie."""
    dataset = folder_name(dataset_name, "a data set called")
    return output_dir / dataset / model_folder_name(model_name)


def model_folder_name(model_name: str) -> str:
    """The folder of a model's results: of a hub id without its slash, of a path the last part."""
    return folder_name(_model_folder(model_name), "a model called")


def folder_name(name: str, what: str) -> str:
    """A name that can be a folder's: one part of a path, which leads nowhere else.

    Args:
        name: The name.
        what: Whose name it is, for the message.

    Raises:
        UserError: It cannot.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > LONGEST:
        raise UserError(
            f"Got {what} {name[:80]!r}, which is no name for a folder of results. "
            f"Give one of 1 to {LONGEST} bytes without '/'.",
            "SE-0709",
        )
    return name


def _confidence_stem(estimator: str) -> str:
    return "confidence" if estimator == "sampling" else f"confidence-{estimator}"


def _method_stem(method: str) -> str:
    if method in LOGIT_METHODS:
        return f"ensemble_{method}"
    if method in METHODS:
        return method
    if ":" not in method:
        raise unknown_name("method", method, METHODS)
    module, _, function = method.partition(":")
    if not all(name.isidentifier() for name in (*module.split("."), function)):
        raise UserError(
            f"Method {method!r} is not of the form module:function. "
            "Name an importable module and a function in it, for example my_rules:longest.",
            "SE-0604",
        )
    if len(os.fsencode(method)) > LONGEST_STEM:
        raise UserError(
            f"Method {method[:40]}... has too long a name for a file. Give it a shorter one.",
            "SE-0709",
        )
    return f"ensemble_{module}.{function}"


def _model_folder(model_name: str) -> str:
    # "owner/name" is a hub id unless it is there on the disk, which is how it is loaded too.
    is_local = (
        re.match(r"[/~]|\.\.?(/|$)", model_name) is not None
        or model_name.endswith(".gguf")
        or model_name.count("/") > 1
        or Path(model_name).exists()
    )
    if not is_local:
        return model_name.replace("/", "__")
    # abspath gives "." and ".." their folder's own name and leaves links unfollowed.
    name = os.path.basename(os.path.abspath(os.path.expanduser(model_name)))
    if not name:
        raise UserError(
            f"Model {model_name!r} has no name. Give the path of a model folder.", "SE-0709"
        )
    return name
