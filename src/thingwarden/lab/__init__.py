"""Simulated networks of Linux namespaces with ground truth."""
