"""Figures as files: equal ones are equal, and letters that no font has are told."""

import pytest

pytest.importorskip("matplotlib", reason="the extra plots is not installed")

from PIL import Image, ImageChops

from self_ensemble.report import figure as figures
from self_ensemble.report.figure import column_figure, save_figure

CHINESE = "\u9996\u90fd"


def drawn(path, title: str) -> bool:
    figure, _ = column_figure(1.5, title)
    return save_figure(figure, path, 100)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_equal_figures_give_equal_bytes(tmp_path, kind):
    for name in "ab":
        figure, axes = column_figure(2, "t")
        axes.plot([0, 1], [1, 0], label="$x_{")  # which is cut at the axes, by an id in SVG
        axes.legend()
        assert save_figure(figure, tmp_path / f"{name}.{kind}", 100)
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.fixture
def fonts(monkeypatch):
    """Look anew for the fonts of `EAST_ASIAN` that a test leaves."""
    figures._families.cache_clear()
    yield lambda names: monkeypatch.setattr(figures, "EAST_ASIAN", names)
    figures._families.cache_clear()


def test_a_letter_that_no_font_has_is_a_box_and_told(tmp_path, fonts):
    fonts(())
    assert drawn(tmp_path / "latin.png", "capital")
    assert not drawn(tmp_path / "chinese.png", CHINESE)
    assert (tmp_path / "chinese.png").read_bytes().startswith(b"\x89PNG")


def test_chinese_is_drawn_where_a_font_has_it(tmp_path, fonts):
    if not set(figures.EAST_ASIAN) & set(figures.fontManager.get_font_names()):
        pytest.skip("no font here has Chinese")
    assert drawn(tmp_path / "font.png", CHINESE)
    figures._families.cache_clear()
    fonts(())
    drawn(tmp_path / "boxes.png", CHINESE)
    with Image.open(tmp_path / "font.png") as one, Image.open(tmp_path / "boxes.png") as other:
        assert ImageChops.difference(one.convert("L"), other.convert("L")).getbbox()
