"""Untrusted bytes in, FlowBatch columns out."""
