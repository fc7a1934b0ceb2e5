"""Decisions to acts on the network, receipts back."""
