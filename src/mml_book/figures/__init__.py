"""Figures of the book. Each function takes arrays or tables and returns a matplotlib figure."""

from mml_book.figures.charts import learning_curve, stacked_bars
from mml_book.figures.data_preparation import channel_histograms, class_counts, split_areas
from mml_book.figures.history import confusion, labeled_images, scores_with_errors, seed_scores
from mml_book.figures.image_model import (
    learning_rate,
    overlapping_windows,
    runs_beside,
    time_constants,
    token_shift,
    trials,
    visiting_orders,
)
from mml_book.figures.images import image_rows
from mml_book.figures.is_ternary_worth_it import accuracy_against_costs, seed_intervals
from mml_book.figures.model_card import accuracy_by_class
from mml_book.figures.patch_embedding import matrices, matrix_product, similarity_by_distance
from mml_book.figures.patches import (
    image_with_grid,
    numbered_pixels,
    patch_maps,
    patch_sizes,
    patches_apart,
    there_and_back,
)
from mml_book.figures.quantization import (
    latent_descent,
    rounding_errors,
    straight_through,
    ternary_histogram,
    ternary_transitions,
    ternary_wiring,
)
from mml_book.figures.training import best_epoch, checkpoint_sizes, step_times
from mml_book.figures.training_for_real import data_parallel, losses_apart
from mml_book.figures.transformer_block import (
    gated_recurrence,
    maps_beside_image,
    mixing_cost,
    parameter_budget,
    raster_order,
    swiglu,
    through_depth,
)
from mml_book.figures.what_it_costs import cost_ratios, growth_with_tokens, steps_and_limit
from mml_book.figures.without_multiplications import packed_byte, predictions_beside, running_sum
