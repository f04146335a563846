"""Two-timepoint networks that find new lesions: training, prediction, evaluation, report."""
