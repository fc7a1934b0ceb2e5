"""The referee: folds, protocols, baselines, reports."""
