"""Incidents to proposals to decisions; pure, and the only door to the network."""
