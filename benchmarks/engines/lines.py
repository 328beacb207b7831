"""Who takes part: one line for each engine and precision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from benchmarks.engines.asking import ALONE, COLUMNS, Engine
from self_ensemble.errors import unknown_name

# What importing `self_ensemble` sets for itself is set for everybody: beside other load it is
# better for all, and alone it makes no difference.
WAITING = {"GOMP_SPINCOUNT": "5000"}
REFERENCE = "generate-float32"


@dataclass(frozen=True, slots=True)
class Line:
    """One engine with one precision.

    Attributes:
        engine: Who.
        precision: Of the weights, and what is rounded besides.
        title: What the tables call it.
        package: What must be installed.
        options: How `load_model` loads ours.
    """

    engine: str
    precision: str
    title: str
    package: str = "torch"
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        return self.engine == "ours"

    @property
    def columns(self) -> tuple[str, ...]:
        return COLUMNS if self.is_ours else ALONE

    @property
    def is_exact(self) -> bool:
        """Whether its answers must be those of `generate` in float32, up to ties."""
        return self.precision == "float32"

    def missing(self) -> str | None:
        """Why it cannot take part; None if it can."""
        if find_spec(self.package) is not None:
            return None
        name = self.package.replace("_", "-")
        # Its wheels are built for older processors, so it is no part of the extra.
        wanted = name if self.engine == "llama.cpp" else "'self-ensemble[bench]'"
        return f"{name} is not installed (pip install {wanted})"

    def load(self, model: str, num_threads: int) -> Engine:
        """Load the model; done in a process of its own."""
        if self.is_ours:
            from benchmarks.engines.ours import Ours

            return Ours(model, num_threads, **self.options)
        from benchmarks.engines.others import make_other

        return make_other(self.engine, model, num_threads, self.precision)


def _ours(precision: str, title: str, **options: str) -> Line:
    return Line("ours", precision, title, options=options)


def _other(engine: str, title: str, package: str, precisions: str) -> dict[str, Line]:
    return {
        f"{engine}-{precision}": Line(engine, precision, f"{title}, {precision}", package)
        for precision in precisions.split()
    }


LINES: dict[str, Line] = {
    REFERENCE: Line("generate", "float32", "transformers' `generate`, float32", "transformers"),
    **_other(
        "openvino", "OpenVINO GenAI", "openvino_genai", "4-bit int8 bfloat16 float32"
    ),
    **_other("ctranslate2", "CTranslate2", "ctranslate2", "int8 float32"),
    **_other("llama.cpp", "llama.cpp", "xllamacpp", "4-bit int8"),
    "ours-bfloat16": _ours("bfloat16", "self-ensemble, bfloat16", dtype="bfloat16"),
    "ours-float32": _ours("float32", "self-ensemble, float32", dtype="float32"),
    **{
        f"ours-openvino-{precision}": Line(
            "ours", precision, f"self-ensemble, OpenVINO engine, {precision}", "openvino",
            {"dtype": precision, "engine": "openvino"},
        )
        for precision in ("int8", "bfloat16", "float32")
    },
}  # fmt: skip

# Two of others and two of ours.
BESIDE_LOAD = ("ours-openvino-int8", "ours-bfloat16", "openvino-4-bit", "openvino-bfloat16")


def choose(names: Sequence[str], *, beside_load: bool = False) -> dict[str, Line]:
    """Lines by their names, or the engines'; all that take part by default for none.

    Raises:
        UserError: An unknown name.
    """
    if not names:
        wanted = BESIDE_LOAD if beside_load else LINES
        return {name: LINES[name] for name in wanted}
    engines = {line.engine for line in LINES.values()}
    for name in names:
        if name not in LINES and name not in engines:
            raise unknown_name("engine", name, {*LINES, *engines})
    return {name: line for name, line in LINES.items() if name in names or line.engine in names}
