"""The picture: questions/s that one driver takes in, by the number of GPUs."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.scale import Reached
from self_ensemble.errors import UserError

COLOURS = ("#1b6ca8", "#d1495b")
IDEAL_COLOUR = "#8a8f98"


def plot_scale(path: Path, found: Sequence[Reached], footer: str) -> None:
    """Write the picture as PNG.

    Args:
        path: Where to.
        found: What was reached, of one or several series.
        footer: Small print: machine, versions.

    Raises:
        UserError: Matplotlib is missing, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            "--plot needs matplotlib. Run: pip install 'self-ensemble[plots]'", "SE-1101"
        ) from error
    figure = Figure(figsize=(9.0, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    gpus = sorted({one.point.gpus for one in found})
    rate = found[0].point.questions_per_s_of_gpu
    axes.plot(
        gpus, [n * rate for n in gpus], "--", color=IDEAL_COLOUR, linewidth=1.5,
        label=f"all GPUs busy, {rate:g} questions/s each",
    )  # fmt: skip
    kinds = sorted({(one.point.methods, one.point.batch_size) for one in found})
    methods_there = sorted({methods for methods, _ in kinds})
    for methods, size in kinds:
        line = [one for one in found if one.point.methods == methods]
        line = sorted(
            (one for one in line if one.point.batch_size == size), key=lambda one: one.point.gpus
        )
        sizes = [batch for number, batch in kinds if number == methods]
        colour = COLOURS[methods_there.index(methods) % len(COLOURS)]
        what = "1 method" if methods == 1 else f"{methods} methods"
        axes.plot(
            [one.point.gpus for one in line], [one.reached for one in line],
            "o-" if size == max(sizes) else "o:", color=colour, markersize=5, linewidth=1.8,
            label=f"{what}, batches of {size}",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(gpus, [f"{n}" for n in gpus])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_xlabel("GPUs that one driver feeds")
    axes.set_ylabel("questions/s on disk")
    axes.grid(visible=True, which="major", color="#e4e4e4")
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.suptitle(
        "One driver, and GPUs that sleep instead of computing", fontsize=11, x=0.01, ha="left"
    )
    figure.supxlabel(footer, fontsize=7, color="#777777", x=0.01, ha="left")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror}. Choose another --plot.", "SE-1101"
        ) from error
