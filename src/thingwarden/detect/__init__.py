"""Scores to detections to incidents; pure."""
