"""Options that several commands share, each declared once; the default stands at the command."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import known_names
from self_ensemble.errors import MOST, UserError, at_least, unknown_name

DATA, MODEL, METHOD, RESULT = "Data", "Model", "Method", "Results"

Dataset = Annotated[
    str,
    typer.Option(
        help="webqa, myriadlama, demo, or your file or folder.",
        rich_help_panel=DATA,
    ),
]
DataFolder = Annotated[
    Path | None, typer.Option(help="Folder with the data set's files.", rich_help_panel=DATA)
]
Paraphrases = Annotated[
    Path | None,
    typer.Option(help="File with wordings for the questions.", rich_help_panel=DATA),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="Columns of your file: question=NAME,answers=NAME[,id=,paraphrases=,"
        "answer_aliases=,answer_patterns=]. KEY.KEY leads into objects; paraphrases=w2+w3: "
        "columns of one wording each.",
        rich_help_panel=DATA,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="Of your text file, if not UTF-8: cp1252, utf-16.", rich_help_panel=DATA),
]
Split = Annotated[
    str | None, typer.Option(help="Which split of your folder.", rich_help_panel=DATA)
]
AnswersSeparator = Annotated[
    str | None,
    typer.Option(
        help="What stands between the answers of a text, for example '|'; none: every text is "
        "one answer.",
        rich_help_panel=DATA,
    ),
]
ShowQuestions = Annotated[
    int | None,
    typer.Option(
        help="Only print what was understood of the data, with the first K questions; no model "
        "is loaded.",
        rich_help_panel=DATA,
    ),
]
MaxSamples = Annotated[
    int | None, typer.Option(help="Only the first M questions.", rich_help_panel=DATA)
]
Offset = Annotated[
    int,
    typer.Option(help="Leave out the first K questions, before --max-samples.",
                 rich_help_panel=DATA),
]  # fmt: skip
NumShots = Annotated[
    int, typer.Option(help="Few-shot examples in the prefix.", rich_help_panel=DATA)
]
NumManual = Annotated[
    int | None,
    typer.Option(help="Manual templates per fact (myriadlama).", rich_help_panel=DATA),
]
NumAuto = Annotated[
    int, typer.Option(help="Automatic templates per fact (myriadlama).", rich_help_panel=DATA)
]
Seed = Annotated[
    int, typer.Option(help="Of few-shot choice and sampling.", rich_help_panel=METHOD)
]
NumParaphrases = Annotated[
    int | None,
    typer.Option(
        help="Wordings per question, N. Default: 5; with --num-manual or --num-auto, their "
        "sum (5 manual ones where not given).",
        rich_help_panel=METHOD,
    ),
]
Indices = Annotated[
    str | None,
    typer.Option(
        "--indices",
        "--indexs",
        help="These wordings instead, for example 0,2,4.",
        rich_help_panel=METHOD,
    ),
]
Positions = Annotated[
    str,
    typer.Option(
        help="aligned or contiguous.", rich_help_panel=METHOD, callback=known_names.positions
    ),
]
FusionPoint = Annotated[
    str,
    typer.Option(
        help="cue or last_segment.", rich_help_panel=METHOD, callback=known_names.fusion_point
    ),
]
ChatTemplate = Annotated[
    str,
    typer.Option(
        help="auto, on or off.", rich_help_panel=METHOD, callback=known_names.chat_template
    ),
]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(help="Longest answer; default: the data set's.", rich_help_panel=METHOD),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        help=r"String that ends an answer, \n for a line break; repeatable. Default: the "
        'data set\'s; "" for none.',
        rich_help_panel=METHOD,
    ),
]
Temperature = Annotated[float, typer.Option(help="0 is greedy.", rich_help_panel=METHOD)]
TopP = Annotated[float, typer.Option(help="Nucleus.", rich_help_panel=METHOD)]
Model = Annotated[
    str, typer.Option(help="Alias, hub id, folder or .gguf file.", rich_help_panel=MODEL)
]
Attention = Annotated[
    str,
    typer.Option(
        help="auto, sdpa, flex or eager.", rich_help_panel=MODEL, callback=known_names.attention
    ),
]
Decode = Annotated[
    str,
    typer.Option(
        help="tree: methods share what they have in common. captured: steps of fixed shape, "
        "which CUDA replays as graphs; greedy only. compiled: the same, compiled first; not for "
        "models on a CPU.",
        rich_help_panel=MODEL,
        callback=known_names.decode,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=MODEL, callback=known_names.device
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        help="auto, float32, bfloat16, float16, or int8 (--engine openvino).",
        rich_help_panel=MODEL,
        callback=known_names.dtype,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="torch, or openvino: passes as one graph on a CPU, for models of Llama's kind "
        r'(pip install "self-ensemble\[openvino]").',
        rich_help_panel=MODEL,
        callback=known_names.engine,
    ),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run code that comes with the model.",
        rich_help_panel=MODEL,
    ),
]
Aliases = Annotated[
    Path | None, typer.Option(help="TOML file with your aliases.", rich_help_panel=MODEL)
]
Attribution = Annotated[
    str | None,
    typer.Option(
        help="Also which wording decided which token, comma-separated: mass (flex_attention), "
        "leave_one_out, shapley, share (logit-level rules).",
        rich_help_panel=METHOD,
    ),
]
SaveLogprobs = Annotated[
    int | None,
    typer.Option(
        help="Also keep what every wording predicts, the K likeliest tokens (64 is plenty), for "
        "`self-ensemble replay`.",
        metavar="K",
        rich_help_panel=RESULT,
    ),
]
BatchSize = Annotated[
    str, typer.Option(help="Questions per batch, or auto.", rich_help_panel=MODEL)
]
OutputDir = Annotated[Path, typer.Option(help="Folder of all results.", rich_help_panel=RESULT)]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Start anew over old results.", rich_help_panel=RESULT),
]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Set aside what is damaged, under another name, and make it again.",
        rich_help_panel=RESULT,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON line, and progress as such lines on standard error.",
        rich_help_panel=RESULT,
    ),
]


def check_model(model: str | None, aliases: Path | None) -> None:
    """Refuse what no model is called, before anything heavy is imported.

    Raises:
        UserError: It is neither alias, path nor hub id, or the file of aliases cannot be used.
    """
    # Here, not above: pyarrow would make every `--help` wait.
    from self_ensemble.models.aliases import DEFAULT_MODEL, resolve

    resolve(DEFAULT_MODEL if model is None else model, aliases)


def one_of(kind: str, given: str, known: list[str]) -> None:
    """Refuse a value that is not in the list, with the nearest one."""
    if given not in known:
        raise unknown_name(kind, given, known)


def refuse_unfit(source: str, fitting: tuple[str, ...], options: Mapping[str, object]) -> None:
    """Refuse an option that would be ignored: it would do nothing, and look as if it did.

    Raises:
        UserError: One was given that does not go with the source.
    """
    unfit = [option for option, value in options.items() if value is not None]
    if unfit and source not in fitting:
        raise UserError(
            f"{unfit[0]} goes with {' or '.join(fitting)}, not with {source}. Leave it out.",
            "SE-0012",
        )


def check_file(option: str, path: Path | None, ending: str) -> None:
    """Refuse a file that cannot be written as what it is asked to be, before any work is done.

    Raises:
        UserError: Its name ends otherwise, it is a folder, or there is no folder for it.
    """
    if path is None:
        return
    if path.suffix.lower() != ending:
        raise UserError(
            f"{option} {path} does not end in {ending}. Name a file that does.", "SE-0014"
        )
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder. Name a file.", "SE-0014")
    if not path.parent.is_dir():
        raise UserError(
            f"There is no folder {path.parent} for {option} {path}. Make it first.", "SE-0014"
        )


def parse_weights(option: str, text: str, others: str = "") -> tuple[float, ...]:
    """Read "0.5,0.3,0.2": a weight for each wording.

    Args:
        option: Which option it was given as.
        text: What was given.
        others: What else the option takes, as a message says it.

    Raises:
        UserError: One is no number from 0, or none is above 0.
    """
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        weights = ()
    if not any(weights) or not all(isfinite(weight) and weight >= 0 for weight in weights):
        raise UserError(
            f"Got {option} {text!r}. Give {others}a number from 0 for each wording, at least one "
            "of them above 0, such as 0.5,0.3,0.2.",
            "SE-0010",
        )
    return weights


def parse_indices(text: str | None) -> tuple[int, ...] | None:
    """Read "0,2,4"."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(map(_is_count, parts)) or len(set(parts)) != len(parts):
        raise UserError(
            f"Got --indices {text!r}. Give different numbers from 0, such as 0,2,4.", "SE-0010"
        )
    return tuple(int(part) for part in parts)


def parse_batch_size(text: str) -> int | None:
    """Read "auto" (None) or a number."""
    if text == "auto":
        return None
    if not _is_count(text) or int(text) < 1:
        raise UserError(
            f"Got --batch-size {text!r}. Give auto or a number from 1 to {MOST:,}.", "SE-0010"
        )
    return int(text)


def _is_count(text: str) -> bool:
    # By its length first: Python refuses to read numbers of thousands of digits.
    return text.isdecimal() and len(text) < 10 and int(text) <= MOST


def parse_stop(strings: list[str] | None) -> tuple[str, ...] | None:
    r"""Read stop strings, in which the two characters \n stand for a line break."""
    return None if strings is None else tuple(s.replace("\\n", "\n") for s in strings if s)


def parse_names(values: list[str]) -> tuple[str, ...]:
    """Read a repeatable option whose values may be comma-separated."""
    return tuple(name.strip() for part in values for name in part.split(",") if name.strip())


def parse_attribution(value: str | None) -> tuple[str, ...]:
    """Read kinds of attribution, separated by commas; none where the option is not given."""
    kinds = () if value is None else parse_names([value])
    if value is not None and not kinds:
        raise UserError(
            "Got --attribution without a kind. Give one or more, or leave it out.", "SE-0012"
        )
    return tuple(dict.fromkeys(kinds))


def check_templates(
    manual_read_each_other: bool, dataset: str | None, paraphrases: Path | None
) -> None:
    """Refuse --manual-read-each-other where there are no templates: it would change nothing."""
    if not manual_read_each_other:
        return
    if dataset != "myriadlama":
        raise UserError(
            f"--manual-read-each-other is for MyriadLAMA's own templates; {dataset} has none. "
            "Leave it out.",
            "SE-0012",
        )
    if paraphrases is not None:
        raise UserError(
            "--manual-read-each-other is for MyriadLAMA's own templates, which --paraphrases "
            "replaces. Leave one of them out.",
            "SE-0012",
        )


def wordings_per_question(
    num_paraphrases: int | None, num_manual: int | None, num_auto: int
) -> int:
    """N: as asked, else all templates that are chosen, 5 by default."""
    at_least("--num-paraphrases", num_paraphrases, 1)
    at_least("--num-manual", num_manual, 0)
    at_least("--num-auto", num_auto, 0)
    if num_manual == 0 and num_auto == 0:
        raise UserError(
            "Got --num-manual 0 without --num-auto: no wordings. Give one of them.", "SE-0012"
        )
    if num_paraphrases is not None:
        return num_paraphrases
    return (5 if num_manual is None else num_manual) + num_auto
