"""Datasets to corpus to model artifact; the only place that imports torch."""
