"""The picture: questions/s that one driver takes in, by the number of GPUs."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.picture import OURS_COLOUR, RIVAL_COLOUR, new_figure, quiet, write_figure
from benchmarks.scale import Reached

COLOURS = (OURS_COLOUR, "#d1495b")


def plot_scale(path: Path, found: Sequence[Reached], footer: str) -> None:
    """Write the picture as PNG.

    Args:
        path: Where to.
        found: What was reached, of one or several series.
        footer: Small print: machine, versions.

    Raises:
        UserError: Matplotlib is missing, or the file cannot be written.
    """
    figure = new_figure(5.4)
    axes = figure.add_subplot()
    gpus = sorted({one.point.gpus for one in found})
    rate = found[0].point.questions_per_s_of_gpu
    axes.plot(
        gpus, [n * rate for n in gpus], "--", color=RIVAL_COLOUR, linewidth=1.5,
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
    quiet(axes, "both", "top", "right")
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    write_figure(figure, path, "One driver, and GPUs that sleep instead of computing", footer)
