import numpy as np
import pytest

from mml_book import figures

pytestmark = pytest.mark.usefixtures("figures_are_drawn")


def curves(ax):
    return {line.get_label(): list(line.get_ydata()) for line in ax.lines}


def test_gated_recurrence_draws_gates_candidates_and_states():
    top, bottom = figures.gated_recurrence([0, 0.5, 1], [8, 0, 4], [8, 4, 4]).axes
    assert [bar.get_height() for bar in top.patches] == [0, 0.5, 1]
    drawn = list(curves(bottom).values())
    assert [8, 0, 4] in drawn
    assert [8, 4, 4] in drawn
    low, high = bottom.get_ylim()
    assert low < 0 and high > 8


def test_raster_order_covers_the_image_with_one_arrow_per_row():
    (ax,) = figures.raster_order(np.zeros((8, 12, 3)), rows=2, columns=3).axes
    assert ax.images[0].get_extent() == [-0.5, 2.5, 1.5, -0.5]
    tips = {text.xy for text in ax.texts if getattr(text, "arrow_patch", None)}
    assert sorted(row for _, row in tips) == [0, 1]
    numbers = {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}
    assert numbers == {"0": (0, 0), "5": (2, 1)}


def test_maps_beside_image_share_a_scale_that_leaves_out_nan():
    maps = {"a": np.array([[0.0, 1.0, np.nan]]), "b": np.array([[5.0, -2.0, 3.0]])}
    figure = figures.maps_beside_image(np.zeros((4, 12, 3)), maps, "gate", position=(0, 2))
    image, a, b, _ = figure.axes
    assert [ax.get_title() for ax in (a, b)] == ["a", "b"]
    for ax, values in zip((a, b), maps.values(), strict=True):
        assert ax.images[0].get_clim() == (-2, 5)
        np.testing.assert_array_equal(np.ma.filled(ax.images[0].get_array(), np.nan), values)
    for ax in (image, a, b):  # framed at the same place, on axes of the same extent
        assert ax.patches[0].get_xy() == (1.5, -0.5)
        assert tuple(ax.images[0].get_extent()) == (-0.5, 2.5, 0.5, -0.5)


def test_maps_beside_image_frames_nothing_unless_asked():
    figure = figures.maps_beside_image(np.zeros((4, 4, 3)), {"a": np.eye(2)}, "gate")
    assert not figure.axes[0].patches


def test_swiglu_draws_each_curve_in_its_panel():
    x = np.array([-1.0, 0.0, 1.0])
    activations, gated = {"ReLU": [0, 0, 1], "identity": [-1, 0, 1]}, {"up = 2": [0, 0, 2]}
    left, right = figures.swiglu(x, activations, gated).axes
    assert curves(left) == activations
    assert curves(right) == gated
    styles = {(line.get_color(), line.get_linestyle()) for line in left.lines}
    assert len(styles) == 2


def test_through_depth_draws_each_curve_from_the_input_on():
    panels = {"size": {"with": [1, 1, 1], "without": [1, 2, 4]}, "similarity": {"with": [1, -0.5, 0]}}
    size, similarity = figures.through_depth(panels).axes
    assert curves(size) == panels["size"]
    assert list(size.lines[0].get_xdata()) == [0, 1, 2]
    assert len({line.get_linestyle() for line in size.lines}) == 2, "one of two equal curves would hide the other"
    assert size.get_legend() and not similarity.get_legend()
    assert size.get_ylim()[0] == 0
    assert similarity.get_ylim()[0] < -0.5


def test_parameter_budget_labels_bars_with_number_and_share():
    panels = {"model": {"head": 9_000_000, "blocks": 1_000_000}, "block": {"kernel": 1}}
    model, block = figures.parameter_budget(panels).axes
    assert [bar.get_width() for bar in model.patches] == [9_000_000, 1_000_000]
    assert [text.get_text() for text in model.texts] == ["9,000,000 (90.0%)", "1,000,000 (10.0%)"]
    assert [text.get_text() for text in block.texts] == ["1 (100.0%)"]
    assert [tick.get_text() for tick in model.get_yticklabels()] == ["head", "blocks"]
    assert model.yaxis_inverted()  # the first part is on top


def test_mixing_cost_is_logarithmic_and_marks_numbers_of_tokens():
    n = np.array([1, 10, 100])
    (ax,) = figures.mixing_cost(n, {"linear": n, "square": n**2}, {"book": 50}).axes
    drawn = curves(ax)
    assert drawn["linear"] == [1, 10, 100]
    assert drawn["square"] == [1, 100, 10_000]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in ax.texts] == ["book\n50 tokens"]
    assert any(list(line.get_xdata()) == [50, 50] for line in ax.lines)
