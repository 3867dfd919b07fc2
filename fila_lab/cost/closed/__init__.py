"""Closed forms, torch-free: parameters, FLOPs and memory of a run part by part, averages over its pages, matched widths."""
