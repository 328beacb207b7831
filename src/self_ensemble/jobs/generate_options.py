"""How answers are generated: the options, and what is refused of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from self_ensemble.asking.methods import Method
from self_ensemble.attribution.games import NUM_ORDERS
from self_ensemble.attribution.kinds import KINDS, Shapley, kinds_among, kinds_of, why_not
from self_ensemble.captured.decode import check_decode
from self_ensemble.errors import UserError, at_least, unknown_name
from self_ensemble.jobs.inputs import CHAT_TEMPLATE, check_choice
from self_ensemble.running.attributed import fewer_wordings
from self_ensemble.walking.fusion import CONTRAST
from self_ensemble.walking.sampling import Sampling
from self_ensemble.weighting.sources import WITHOUT_SOURCE


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """How questions are answered; the options of the command line, under their long names.

    Attributes:
        num_paraphrases: Wordings per question, N, the original included.
        indices: These wordings instead.
        manual_read_each_other: Whether MyriadLAMA's manual wordings read the earlier ones.
        weights: Source of the weights of the weighted methods: an estimator's name, "learned", a
            file or a column.
        segment_weights: Weights inside attention: "uniform", "none", or such a source.
        contrast_strength: How far `contrast` moves away from the prompt without the question.
        positions: "aligned" or "contiguous".
        fusion_point: "cue" or "last_segment".
        chat_template: "auto", "on" or "off".
        max_new_tokens: Longest answer, in tokens; None for the data set's.
        stop: Strings that end an answer; None for the data set's.
        temperature: 0 is greedy.
        top_p: Nucleus.
        seed: Of what is sampled.
        decode: "tree", "captured" or "compiled".
        attribution: Kinds of attribution that are stored beside the answers: "mass",
            "leave_one_out", "shapley", "share"; see `attribution.kinds`.
        save_logprobs: K: the wordings' own log-probabilities are kept in one more file, of the K
            likeliest tokens; see `running.logprobs`. None keeps none.
        batch_size: Questions at once; None lets it shrink to what fits.
        overwrite: Start anew over old results.
        repair: Set aside what is damaged, and make it again.
    """

    num_paraphrases: int = 5
    indices: tuple[int, ...] | None = None
    manual_read_each_other: bool = False
    weights: str | None = None
    segment_weights: str = "uniform"
    contrast_strength: float = CONTRAST
    positions: str = "aligned"
    fusion_point: str = "cue"
    chat_template: str = "off"
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    decode: str = "tree"
    attribution: tuple[str, ...] = ()
    save_logprobs: int | None = None
    batch_size: int | None = None
    overwrite: bool = False
    repair: bool = False

    @property
    def own_segment_weights(self) -> str | None:
        """Source of the weights inside attention, where they are neither uniform nor none."""
        return None if self.segment_weights in WITHOUT_SOURCE else self.segment_weights

    def weights_of(self, method: Method) -> str | None:
        """Source of the weights that a method reads."""
        if method.kind == "fused":
            return self.own_segment_weights
        return self.weights if method.may_read_weights else None

    def check(self) -> None:
        """Refuse what cannot be, before anything is loaded.

        Raises:
            UserError: A value is none of those above.
        """
        at_least("--num-paraphrases", self.num_paraphrases, 1)
        at_least("--max-new-tokens", self.max_new_tokens, 1)
        at_least("--save-logprobs", self.save_logprobs, 1)
        at_least("--batch-size", self.batch_size, 1)
        check_choice("positions", self.positions, ("aligned", "contiguous"))
        check_choice("fusion point", self.fusion_point, ("cue", "last_segment"))
        check_choice("chat template setting", self.chat_template, CHAT_TEMPLATE)
        check_decode(self.decode, Sampling(self.temperature, self.top_p, self.seed))
        for kind in self.attribution:
            if kind not in KINDS:
                raise unknown_name("kind of attribution", kind, KINDS)

    def refuse_ignored(self, methods: Sequence[Method]) -> None:
        """Refuse an option that would change nothing: it would seem to have been measured.

        Args:
            methods: What is asked for.

        Raises:
            UserError: None of the methods reads it.
        """
        if not any(method.kind == "fused" for method in methods):
            for name in FUSED_ONLY:
                if getattr(self, name) != getattr(STANDARD, name):
                    option = "--" + name.replace("_", "-")
                    raise UserError(
                        f"{option} is for flex_attention, which is not among the methods. "
                        "Leave it out, or add the method.",
                        "SE-0012",
                    )
        if self.weights is not None and not any(method.may_read_weights for method in methods):
            raise UserError(
                "--weights is for weighted methods, and none is among the methods. Leave it out, "
                "or add weighted_avg or weighted_max; inside attention it is --segment-weights.",
                "SE-0012",
            )
        if self.contrast_strength != STANDARD.contrast_strength and not any(
            method.reads_prior for method in methods
        ):
            raise UserError(
                "--contrast-strength is for contrast, which is not among the methods. Leave it "
                "out, or add the method.",
                "SE-0012",
            )
        self._refuse_attribution(methods)
        if self.top_p != 1.0 and self.temperature == 0.0:
            raise UserError(
                "--top-p needs sampling. Give --temperature above 0 as well.", "SE-0607"
            )

    def not_attributed(self, methods: Sequence[Method]) -> list[str]:
        """For which methods a kind of attribution gives no column, a line for each reason."""
        names: dict[tuple[str, str], list[str]] = {}
        for kind in self.attribution:
            for method in methods:
                reason = why_not(kind, method)
                if reason is not None:
                    names.setdefault((kind, reason), []).append(method.name)
        return [f"No {kind} for {', '.join(of)}: {why}." for (kind, why), of in names.items()]

    def attribution_fields(self, method: Method) -> dict[str, object]:
        """What the manifest of a method says of its attribution; nothing where there is none."""
        kinds = kinds_among(self.attribution, method)
        found: dict[str, object] = {"attribution": kinds} if kinds else {}
        if Shapley.kind in kinds:
            found["shapley_orders"] = NUM_ORDERS
        return found

    def _refuse_attribution(self, methods: Sequence[Method]) -> None:
        for kind in self.attribution:
            if not any(kind in kinds_of(method) for method in methods):
                each = " ".join(replace(self, attribution=(kind,)).not_attributed(methods))
                raise UserError(
                    f"--attribution {kind} is for none of the methods. {each} Leave it out, or "
                    "add a method that it is for.",
                    "SE-0606",
                )
        if self.manual_read_each_other and fewer_wordings(self.attribution):
            raise UserError(
                "--attribution leave_one_out and shapley leave wordings out, and with "
                "--manual-read-each-other others have read them. Leave one of the two out; "
                "--attribution mass goes with it.",
                "SE-0606",
            )


STANDARD = GenerateOptions()
# Options that only the fused stream notices.
FUSED_ONLY = ("segment_weights", "positions", "fusion_point", "manual_read_each_other")
