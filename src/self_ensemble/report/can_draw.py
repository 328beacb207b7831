"""Whether figures can be drawn here, asked before anything heavy is imported."""

from importlib.util import find_spec

from self_ensemble.errors import UserError


def can_draw() -> bool:
    """Whether there is what figures are drawn with."""
    return find_spec("matplotlib") is not None


def check_can_draw(what: str) -> None:
    """Refuse figures where there is nothing to draw with.

    Args:
        what: What has figures, as a message begins: "--plot", "A report".

    Raises:
        UserError: matplotlib is not installed.
    """
    if not can_draw():
        raise UserError(
            f"{what} needs matplotlib, which is not installed. "
            'Run: pip install "self-ensemble[plots]"',
            "SE-0015",
        )
