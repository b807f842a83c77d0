"""One function a picture: arrays in, matplotlib figure out."""

from mml.plots.block import (
    gated_recurrence,
    maps_beside_image,
    mixing_cost,
    parameter_budget,
    raster_order,
    swiglu,
    through_depth,
)
from mml.plots.costs import cost_ratios, growth_with_tokens, steps_and_limit
from mml.plots.data import channel_histograms, class_counts, image_rows, split_areas
from mml.plots.distribution import data_parallel, losses_apart
from mml.plots.history import confusion, labelled_images, learning_curve, scores_with_errors, seed_scores
from mml.plots.packing import packed_byte, predictions_beside, running_sum, stacked_bars
from mml.plots.patches import image_with_grid, numbered_pixels, patch_maps, patch_sizes, patches_apart, there_and_back
from mml.plots.quantization import (
    latent_descent,
    matrices,
    matrix_product,
    position_similarity,
    rounding_errors,
    similarity_by_distance,
    straight_through,
    ternary_histogram,
    ternary_transitions,
    ternary_wiring,
)
from mml.plots.training import best_epoch, checkpoint_sizes, step_times
from mml.plots.worth import accuracy_against_costs, seed_intervals
