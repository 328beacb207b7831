"""Values of options: read, or refused before anything heavy is imported."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from self_ensemble.errors import MOST, UserError, at_least, unknown_name


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


def check_temperature(value: float | None) -> float | None:
    """Refuse a temperature that no draw can have."""
    # Here, not above: numpy would make every `--help` wait.
    from self_ensemble.walking.sampling import Sampling

    if value is not None:
        Sampling(temperature=value)
    return value


def check_top_p(value: float | None) -> float | None:
    """Refuse a nucleus that no draw can have."""
    from self_ensemble.walking.sampling import Sampling

    if value is not None:
        Sampling(top_p=value)
    return value


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
