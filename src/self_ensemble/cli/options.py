"""Options that several commands share, each declared once; the default stands at the command."""

from pathlib import Path
from typing import Annotated

import typer

from self_ensemble.cli import known_names, option_values

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
Temperature = Annotated[
    float,
    typer.Option(
        help="0 is greedy.", rich_help_panel=METHOD, callback=option_values.check_temperature
    ),
]
TopP = Annotated[
    float,
    typer.Option(help="Nucleus.", rich_help_panel=METHOD, callback=option_values.check_top_p),
]
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
        callback=known_names.attribution,
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
