"""Flows to words, a device's history to sentences; pure and columnar."""
